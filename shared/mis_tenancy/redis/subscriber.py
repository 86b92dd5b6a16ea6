"""The channels that a process listens to, over a link of their own."""

from collections.abc import Callable
from contextlib import suppress

import structlog

from mis_tenancy.redis.address import Address
from mis_tenancy.redis.link import Link
from mis_tenancy.redis.wire import RedisUnavailable, Wire, forget

_log = structlog.get_logger(__name__)


class Subscriber:
    """Calls back for each message; on a cluster any node will do, since each sends on what it is told."""

    def __init__(
        self, where: Callable[[], Address], timeout: float, is_good: Callable[[Address], bool]
    ) -> None:
        self._callbacks: dict[bytes, Callable[[bytes], None]] = {}
        self._link = Link(where, timeout, self._on_message, self._on_open, is_good)

    async def add(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Call `callback` with each message of the channel from now on."""
        self._callbacks[channel.encode()] = callback
        if self._link.wire is not None:
            # A wire that was lost this very moment is replaced, and the next one gets every channel.
            with suppress(RedisUnavailable):
                _subscribe(self._link.wire, channel.encode())
        await self._link.start()

    async def stop(self) -> None:
        """Close the link."""
        await self._link.stop()

    def _on_open(self, wire: Wire) -> None:
        for channel in self._callbacks:
            _subscribe(wire, channel)

    def _on_message(self, channel: bytes, payload: bytes) -> None:
        try:
            self._callbacks[channel](payload)
        except Exception:
            # One listener's mistake must not cost the others their connection.
            _log.exception("redis_listener_failed", channel=channel.decode())


def _subscribe(wire: Wire, channel: bytes) -> None:
    # The connection's loss, and nothing else, makes this fail; the link then subscribes anew.
    wire.submit("SUBSCRIBE", channel).add_done_callback(forget)
