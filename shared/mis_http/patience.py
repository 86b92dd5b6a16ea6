"""How long a client is waited for that sends a body: one that stops, or sends next to nothing, is given up.

Else whoever opens connections and sends a byte now and then holds as many of them as he likes, for ever.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from mis_tenancy.errors import ProblemError

Arrived = TypeVar("Arrived")


class UploadTooSlow(ProblemError):
    """The client keeps a connection and sends next to nothing."""

    status = 408
    code = "upload_too_slow"
    detail = "The upload came to a standstill, so it was given up. Nothing of it was kept. Send it again."


@dataclass(frozen=True, slots=True)
class Patience:
    """How slow a client may be: `silence` seconds without a byte; after `grace`, `rate` bytes a second.

    Only the time counts in which we wait for the client.
    """

    silence: float = 30.0
    grace: float = 60.0
    rate: float = 8 * 1024


class Waiting:
    """The wait for one body; whoever waits adds what he has `received`."""

    __slots__ = ("_patience", "_waited", "received")

    def __init__(self, patience: Patience) -> None:
        self.received = 0
        self._patience = patience
        self._waited = 0.0

    async def until(self, arriving: Awaitable[Arrived]) -> Arrived:
        """Return what arrives next; raise UploadTooSlow where nothing does, or all of it too slowly."""
        began = monotonic()
        try:
            async with asyncio.timeout(self._patience.silence):
                arrived = await arriving
        except TimeoutError as error:
            raise UploadTooSlow from error
        self._waited += monotonic() - began
        if self._waited > self._patience.grace and self.received < self._patience.rate * self._waited:
            raise UploadTooSlow
        return arrived
