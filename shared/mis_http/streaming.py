"""An answer that is sent line by line while the work behind it goes on, and ends with the client's going."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

NDJSON: Final = "application/x-ndjson"
# Seconds that a client may take none of the answer before it counts as gone.
_PATIENCE: Final = 60.0


class LineByLine(Response):
    """Sends `lines`, and makes none any more once the client is gone; closes `source` at the end.

    The line under way is always brought to its end. (Starlette's own streaming answer would cancel it.)
    """

    media_type = NDJSON

    def __init__(
        self,
        lines: AsyncGenerator[bytes, None],
        source: AbstractContextManager[object],
        media_type: str | None = None,
    ) -> None:
        super().__init__(media_type=media_type)
        # Nobody knows it yet.
        del self.headers["content-length"]
        self._lines = lines
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        gone = asyncio.create_task(_gone(receive))
        try:
            with self._source:
                async with aclosing(self._lines):
                    await self._send(send, gone)
        finally:
            gone.cancel()

    async def _send(self, send: Send, gone: asyncio.Task[None]) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for line in self._lines:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await send({"type": "http.response.body", "body": line, "more_body": True})
            except (TimeoutError, OSError):
                return
            if gone.done():
                return
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
