"""Body limits: refused by the declared length, else while reading, before anything is kept.

A limit belongs to a path, because uploads, archives and imports have their own and are streamed. A body that
does not arrive is given up.
"""

from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mis_http.patience import Patience, Waiting
from mis_tenancy.error_responses import error_response
from mis_tenancy.errors import BodyMalformed, BodyTooLarge
from mis_tenancy.http.requests import header_values

MIB: Final = 2**20
_PATIENCE: Final = Patience()


class BodyLimit:
    """ASGI middleware that refuses bodies over `default` bytes, or over the limit of the path's suffix.

    `by_suffix` maps the end of a path to its own limit; `None` leaves the limit to the route, which streams,
    and with it how long to wait for the client.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        default: int = MIB,
        by_suffix: Mapping[str, int | None] | None = None,
        patience: Patience = _PATIENCE,
    ) -> None:
        self.app = app
        self.default = default
        self.patience = patience
        self.by_suffix = dict(by_suffix or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a bounded body, or answer 413."""
        if scope["type"] != "http" or (limit := self.limit_of(scope["path"])) is None:
            await self.app(scope, receive, send)
            return
        declared = header_values(scope, b"content-length")
        if declared and not declared[0].isdigit():
            await error_response(BodyMalformed("Content-Length is not a number."))(scope, receive, send)
            return
        if declared and int(declared[0]) > limit:
            await error_response(_too_large(limit))(scope, receive, send)
            return
        await self.app(scope, _counting(receive, limit, self.patience), send)

    def limit_of(self, path: str) -> int | None:
        """Return the limit in bytes of a body sent to `path`, None where the route has its own."""
        for suffix, limit in self.by_suffix.items():
            if path.endswith(suffix):
                return limit
        return self.default


def _counting(receive: Receive, limit: int, patience: Patience) -> Receive:
    waiting, is_whole = Waiting(patience), False

    async def counted() -> Message:
        nonlocal is_whole
        # What comes behind the body is that the client leaves, which may take as long as the answer does.
        message = await (receive() if is_whole else waiting.until(receive()))
        is_whole = not message.get("more_body", False)
        waiting.received += len(message.get("body", b""))
        if waiting.received > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than the {limit} bytes this route takes.", limit=limit)
