"""HEAD as HTTP has it (RFC 9110 §9.3.2): what answers GET answers HEAD, with the same headers and no body.

FastAPI routes know only the methods they name. So a HEAD request is routed as the GET that it asks about,
behind the tenant middleware, which judges, limits and records it under its own name.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mis_tenancy.http.route_table import Templates

_DISCONNECT: Final[Message] = {"type": "http.disconnect"}
# Before this version of ASGI an application listens for a client that leaves, and stops its stream then.
_LISTENING: Final = "2.3"


class HeadAsGet:
    """ASGI middleware that answers HEAD by GET, but on the routes `own` names, which answer it themselves.

    `own` is asked once, at the first such request.
    """

    def __init__(self, app: ASGIApp, *, own: Callable[[], Iterable[str]]) -> None:
        self.app = app
        self._own = own
        self._templates: Templates | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or self._answers_itself(scope):
            await self.app(scope, receive, send)
            return
        answer = _HeadersOnly(receive, send)
        asgi = {**scope["asgi"], "spec_version": _LISTENING}
        await self.app({**scope, "method": "GET", "asgi": asgi}, answer.receive, answer.send)

    def _answers_itself(self, scope: Scope) -> bool:
        if self._templates is None:
            self._templates = Templates(self._own())
        return self._templates.of(scope) is not None


class _HeadersOnly:
    """One exchange that is over for the application once its headers have left."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._over = asyncio.Event()

    async def receive(self) -> Message:
        """Return what the client sends, and that it has left once it has its answer."""
        waiting = asyncio.ensure_future(self._over.wait())
        sent = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait({waiting, sent}, return_when=asyncio.FIRST_COMPLETED)
            return _DISCONNECT if self._over.is_set() else sent.result()
        finally:
            waiting.cancel()
            sent.cancel()

    async def send(self, message: Message) -> None:
        """Let the headers through, and end the answer there."""
        if message["type"] != "http.response.start":
            return
        await self._send(message)
        await self._send({"type": "http.response.body", "body": b""})
        self._over.set()
