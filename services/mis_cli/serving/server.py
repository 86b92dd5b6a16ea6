"""The HTTP server of every process: how it speaks, how it tells that it has begun, how it leaves.

A process that is told to go first says so to whoever asks whether it is ready, and goes on serving for as
long as load balancers need to hear it; each answer meanwhile closes its connection, so that nobody sends the
next request into a socket that is about to vanish. Then it lets nobody in and ends what it has begun.
"""

import asyncio
import socket
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mis_cli.serving.wire import ProblemProtocol

# So many seconds a request that is under way may still take once no new ones are let in.
_PATIENCE: Final = 10


class Draining(RuntimeError):
    """The process is about to go; nothing new should be sent to it."""


class Server(uvicorn.Server):
    """A server of one application; `drain` is for how many seconds it serves on after it was told to go."""

    def __init__(self, app: ASGIApp, drain: float = 0.0) -> None:
        super().__init__(
            uvicorn.Config(
                _Closing(app, self),
                http=ProblemProtocol,
                lifespan="on",
                # Its lines go the way of ours.
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_PATIENCE,
            )
        )
        self.ready = asyncio.Event()
        self.draining = False
        self._drain = drain
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self.ready.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Go, after the drain; at once where asked a second time or nothing was begun."""
        if self.draining or self._loop is None or not self.started or not self._drain:
            super().handle_exit(sig, frame)
            return
        self.draining = True
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain, super().handle_exit, sig, frame)

    async def confirm(self) -> None:
        """Raise Draining once the process was told to go: a check of readiness."""
        if self.draining:
            raise Draining("The process is stopping.")


class _Closing:
    """The application, whose answers close their connections while the server drains."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        leaving = self._server.draining and scope["type"] == "http"
        await self._app(scope, receive, closing if leaving else send)
