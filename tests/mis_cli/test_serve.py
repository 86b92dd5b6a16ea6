"""`mis serve` as a process: one service, which leaves without dropping a request."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from mis_cli.embedded.processes import free_port
from tests.mis_cli.command_line import CommandLine, environment
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle

ME = "/api/v1/users/me"


@dataclass
class Replica:
    """A process that serves the user service."""

    process: Process
    url: str

    async def is_ready(self) -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{self.url}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def when_unready(self) -> None:
        while await self.is_ready():  # noqa: ASYNC110  # another process's doing
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(servers: TestServers, place: Path, drain: float = 0) -> AsyncIterator[Replica]:
    """Serve the user service until the block ends."""
    port = free_port()
    env = os.environ | environment(servers)
    env |= {"MIS_STORAGE_URL": place.as_uri(), "MIS_SPOOL_DIR": str(place), "MIS_DRAIN_SECONDS": str(drain)}
    command = [sys.executable, "-m", "mis_cli", "serve", "user", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.DEVNULL)
    replica = Replica(process, f"http://127.0.0.1:{port}")
    try:
        async with asyncio.timeout(120):
            while not await replica.is_ready():
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield replica
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass
class Balancer:
    """Sends requests to the replicas that were ready a moment ago, as a load balancer does."""

    replicas: list[Replica]
    tenant: TenantHandle
    ready: list[Replica] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    under_way: Counter[str] = field(default_factory=Counter)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def probe(self) -> None:
        while not self.stop.is_set():
            self.ready = [one for one in self.replicas if await one.is_ready()]
            await asyncio.sleep(0.05)

    async def ask(self) -> None:
        # Connections are kept, as a proxy keeps them.
        async with httpx.AsyncClient(headers=self.tenant.auth) as client:
            while not self.stop.is_set():
                url = self.ready[0].url
                self.under_way[url] += 1
                answer = await client.get(url + ME)
                self.under_way[url] -= 1
                assert answer.status_code == 200, answer.text
                self.answers[url] += 1

    async def when_answered(self, replica: Replica, times: int = 20) -> None:
        while self.answers[replica.url] < times:  # noqa: ASYNC110  # another process's doing
            await asyncio.sleep(0.01)

    async def when_left(self, replica: Replica) -> None:
        while replica in self.ready or self.under_way[replica.url]:  # noqa: ASYNC110  # another process's doing
            await asyncio.sleep(0.01)


async def test_a_replica_is_replaced_under_load_and_no_request_is_lost(
    suite: Suite, test_servers: TestServers, place: Path
) -> None:
    """Catalogue 139."""
    tenant = await suite.tenant("custom")
    (place / "old").mkdir()
    (place / "new").mkdir()
    async with (
        serving(test_servers, place / "old", drain=600) as old,
        serving(test_servers, place / "new") as new,
    ):
        balancer = Balancer([old, new], tenant, [old])
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            group.create_task(balancer.probe())
            for _ in range(6):
                group.create_task(balancer.ask())
            await balancer.when_answered(old)
            old.process.send_signal(signal.SIGTERM)
            # It says that it goes before it goes.
            await old.when_unready()
            await balancer.when_left(old)
            assert old.process.returncode is None
            # The drain is over, here as soon as nobody needs it any more.
            old.process.send_signal(signal.SIGTERM)
            assert await old.process.wait() == 0
            await balancer.when_answered(new)
            balancer.stop.set()


async def test_a_process_goes_by_itself_when_its_drain_is_over(
    test_servers: TestServers, place: Path
) -> None:
    async with serving(test_servers, place, drain=0.1) as replica:
        replica.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(120):
            assert await replica.process.wait() == 0


async def test_a_second_signal_does_not_wait_for_the_drain(test_servers: TestServers, place: Path) -> None:
    async with serving(test_servers, place, drain=600) as replica:
        replica.process.send_signal(signal.SIGTERM)
        await replica.when_unready()
        async with httpx.AsyncClient() as client:
            alive = await client.get(f"{replica.url}/healthz")
        assert (alive.status_code, alive.headers["connection"]) == (200, "close")
        replica.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(120):
            assert await replica.process.wait() == 0


@pytest.mark.parametrize("service", ["tenant", "auth", "user"])
async def test_a_service_that_lacks_a_setting_names_it_and_does_not_start(
    mis: CommandLine, service: str
) -> None:
    settings = {name: value for name, value in mis.env.items() if name != "MIS_DATABASE_URL"}
    result = await mis("serve", service, env=settings | {"MIS_DATABASE_URL": "", "MIS_DRAIN_SECONDS": "soon"})
    assert result.exit_code == 2
    assert "MIS_DRAIN_SECONDS: " in result.stderr
    result = await mis("serve", service, env=settings | {"MIS_DATABASE_URL": ""})
    assert result.exit_code == 2
    assert (
        "MIS_DATABASE_URL: is not set. Set it to the postgresql:// URL of the role mis_app" in result.stderr
    )
