"""A receiver of webhooks on a real socket, that answers as each test wants it to."""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        document: dict[str, Any] = msgspec.json.decode(self.body)
        return document


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer: `body` may be longer than anybody wants, `hang` withholds the answer."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pace: float = 0.0
    hang: bool = False


Answering = Callable[[Received], Reply]


class Receiver:
    """Keeps what came in by path; `answer` decides what is said, 204 where nobody does."""

    def __init__(self) -> None:
        self.port = 0
        self.scheme = "http"
        self.received: defaultdict[str, list[Received]] = defaultdict(list)
        self.answers: dict[str, Answering] = {}
        self.connections = 0
        self.sent_bytes = 0
        self._changed = asyncio.Condition()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        return self.received[path]

    async def wait_for(self, path: str, count: int = 1, seconds: float = 20.0) -> list[Received]:
        """Return what came in at the path, once that is so many requests."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.received[path]) >= count)
        return self.received[path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                while await self._exchange(reader, writer, number):
                    pass
        finally:
            writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Received(head[0].split(" ")[1], headers, body, number)
        answer = self.answers.get(request.path)
        reply = Reply() if answer is None else answer(request)
        async with self._changed:
            self.received[request.path].append(request)
            self._changed.notify_all()
        if reply.hang:
            await reader.read()
            return False
        lines = [
            f"HTTP/1.1 {reply.status} Said",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        if "content-length" not in reply.headers and reply.status != 204:
            lines.append(f"content-length: {len(reply.body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        await self._say(writer, reply)
        return True

    async def _say(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        step = 1 if reply.pace else 65_536
        for start in range(0, len(reply.body), step):
            writer.write(reply.body[start : start + step])
            await writer.drain()
            self.sent_bytes += step
            if reply.pace:
                await asyncio.sleep(reply.pace)


@asynccontextmanager
async def receiving(
    context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Receiver]:
    """Yield a receiver that listens, with TLS where a context is given."""
    receiver = Receiver()
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        await receiver.serve(reader, writer)

    server = await asyncio.start_server(accept, host, 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    receiver.scheme = "http" if context is None else "https"
    try:
        yield receiver
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
