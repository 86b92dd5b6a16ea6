"""Body limits: refused by the declared length, else while reading, before anything is kept.

A limit belongs to a path, because uploads, archives and imports have their own and are streamed.
"""

from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mis_tenancy.error_responses import error_response
from mis_tenancy.errors import BodyMalformed, BodyTooLarge
from mis_tenancy.http.requests import header_values

MIB: Final = 2**20


class BodyLimit:
    """ASGI middleware that refuses bodies over `default` bytes, or over the limit of the path's suffix.

    `by_suffix` maps the end of a path to its own limit; `None` leaves the limit to the route, which streams.
    """

    def __init__(
        self, app: ASGIApp, *, default: int = MIB, by_suffix: Mapping[str, int | None] | None = None
    ) -> None:
        self.app = app
        self.default = default
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
        await self.app(scope, _counting(receive, limit), send)

    def limit_of(self, path: str) -> int | None:
        """Return the limit in bytes of a body sent to `path`, None where the route has its own."""
        for suffix, limit in self.by_suffix.items():
            if path.endswith(suffix):
                return limit
        return self.default


def _counting(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than the {limit} bytes this route takes.", limit=limit)
