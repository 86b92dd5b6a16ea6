"""The suite behind a real HTTP server, and bytes sent to it that no client library would send."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from mis_cli.serving.wire import ProblemProtocol
from tests.suite import Suite


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; status 0 where the server closed the connection without a word."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Server(uvicorn.Server):
    """A server that leaves the test run's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(suite: Suite, port: int = 0) -> AsyncIterator[int]:
    """Yield the port, a free one unless given, at which uvicorn serves the suite's gateway."""
    async with served_app(suite.gateway, port) as taken:
        yield taken


@asynccontextmanager
async def served_app(app: Any, port: int = 0) -> AsyncIterator[int]:
    """Yield the port at which uvicorn serves the application."""
    config = uvicorn.Config(
        app,
        port=port,
        http=ProblemProtocol,
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110  # uvicorn sets a flag and sends no event
            await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def exchange(port: int, request: bytes) -> Answer:
    """Send the bytes and read one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            return await _rest(head, reader)
    except (asyncio.IncompleteReadError, ConnectionError):
        return Answer(0)
    finally:
        writer.close()


async def _rest(head: bytes, reader: asyncio.StreamReader) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    length = headers.get("content-length")
    body = await (reader.read() if length is None else reader.readexactly(int(length)))
    return Answer(int(first.split(" ")[1]), headers, body)


def request(target: str, *lines: str, method: str = "GET", host: str | None = "testserver") -> bytes:
    """Return a request of those header lines, exactly as they are spelled."""
    hosts = [] if host is None else [f"Host: {host}"]
    head = "\r\n".join([f"{method} {target} HTTP/1.1", *hosts, *lines, "Connection: close", "", ""])
    return head.encode("latin-1", "replace") if head.isascii() else head.encode()


async def raw(gateway: Any, scope: dict[str, Any], body: bytes = b"") -> Answer:
    """Put a scope to the application as a server would that is less strict than ours."""
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    base = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "query_string": b"",
        "root_path": "",
        "client": ("10.251.0.1", 1),
        "server": ("testserver", 80),
    }
    full = base | scope
    await gateway(full | {"raw_path": full["path"].encode()}, receive, send)
    start = next(one for one in messages if one["type"] == "http.response.start")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(one.get("body", b"") for one in messages))
