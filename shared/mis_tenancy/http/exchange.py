"""One request and its answer on the wire: headers join its first message, its outcome precedes its last.

What counts as first and last differs between HTTP, WebSocket and the extensions of ASGI, so it is said here
once.
"""

from collections.abc import Callable
from time import perf_counter_ns
from typing import Final

from starlette.types import Message, Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]

SUCCESS: Final = "success"
REFUSED: Final = "refused"
ERROR: Final = "error"
DISCONNECTED: Final = "disconnected"

_STARTS: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
_BODIES: Final = frozenset(
    {
        "http.response.body",
        "http.response.pathsend",
        "http.response.zerocopysend",
        "websocket.http.response.body",
    }
)
_CLIENT_CLOSED: Final = 499


class Exchange:
    """Passes messages on and watches them.

    `decorate` returns the headers to send in place of the application's; `conclude` is called once with
    status, outcome and duration in microseconds, before the last byte leaves or when it is clear that none
    will.
    """

    __slots__ = (
        "_conclude",
        "_decorate",
        "_receive",
        "_send",
        "_started_at",
        "_status",
        "is_concluded",
        "is_disconnected",
    )

    def __init__(
        self,
        receive: Receive,
        send: Send,
        decorate: Callable[[Headers], Headers],
        conclude: Callable[[int, str, int], None],
    ) -> None:
        self._receive = receive
        self._send = send
        self._decorate = decorate
        self._conclude = conclude
        self._started_at = perf_counter_ns()
        self._status: int | None = None
        self.is_concluded = False
        self.is_disconnected = False

    @property
    def is_started(self) -> bool:
        """Whether the answer's status has left."""
        return self._status is not None

    @property
    def duration_us(self) -> int:
        """Microseconds since the request arrived."""
        return (perf_counter_ns() - self._started_at) // 1_000

    async def receive(self) -> Message:
        """Receive for the application."""
        message = await self._receive()
        kind = message["type"]
        if kind == "http.disconnect" and not self.is_concluded:
            self.is_disconnected = True
        elif kind == "websocket.disconnect":
            self.end(SUCCESS if self.is_started else DISCONNECTED)
        return message

    async def send(self, message: Message) -> None:
        """Send for the application."""
        kind = message["type"]
        if kind in _STARTS:
            self._status = message.get("status", 101)
            message = {**message, "headers": self._decorate(list(message.get("headers", ())))}
        elif kind in _BODIES:
            if not message.get("more_body", False):
                self.end(_outcome_of(self._status or 500))
        elif kind == "websocket.close":
            self._close()
        try:
            await self._send(message)
        except OSError:
            self.is_disconnected = True
            raise

    def end(self, outcome: str) -> None:
        """Conclude, once; what the client no longer hears is `disconnected`, whatever happened."""
        if self.is_concluded:
            return
        self.is_concluded = True
        if self.is_disconnected:
            outcome = DISCONNECTED
        if outcome == DISCONNECTED:
            status = self._status or _CLIENT_CLOSED
        else:
            status = 500 if outcome == ERROR and (self._status or 0) < 500 else self._status or 500
        self._conclude(status, outcome, self.duration_us)

    async def abort(self, scope: Scope) -> None:
        """End an answer that broke off; over HTTP the server itself closes the connection of such a one."""
        may_close = not self.is_concluded and not self.is_disconnected
        self.end(ERROR)
        if scope["type"] == "websocket" and may_close:
            await self.send({"type": "websocket.close", "code": 1011})

    def _close(self) -> None:
        if self.is_started:
            self.end(SUCCESS)
        else:
            # A handshake that is closed instead of accepted is answered 403 by the server.
            self._status = 403
            self.end(REFUSED)


def _outcome_of(status: int) -> str:
    if status < 400:
        return SUCCESS
    return REFUSED if status < 500 else ERROR
