"""One connection that comes back by itself: who uses it asks whether it is there, and waits for nothing."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from mis_tenancy.redis.address import Address
from mis_tenancy.redis.wire import RedisReplyError, RedisUnavailable, Wire, WrongRedis, connect, identify
from mis_tenancy.settings import SettingsError

_FIRST_DELAY: Final = 0.02
_LONGEST_DELAY: Final = 0.5
_HEARTBEAT: Final = 2.0

_log = structlog.get_logger(__name__)


class Link:
    """Keeps one wire open: reconnects with growing, jittered delays, and finds a dead one by a heartbeat.

    `where` is asked before each attempt; `is_good` says at each heartbeat whether to stay there. `failure`
    is why the last attempt came to nothing; None while there is a wire.
    """

    def __init__(
        self,
        where: Callable[[], Address],
        timeout: float,
        on_message: Callable[[bytes, bytes], None] | None = None,
        on_open: Callable[[Wire], None] | None = None,
        is_good: Callable[[Address], bool] = lambda address: True,
    ):
        self.wire: Wire | None = None
        self.failure: str | None = None
        self._where = where
        self._timeout = timeout
        self._on_message = on_message
        self._on_open = on_open
        self._is_good = is_good
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._wrong: WrongRedis | None = None

    @property
    def is_up(self) -> bool:
        """Whether commands can be sent now."""
        return self.wire is not None and not self.wire.lost.done()

    def open(self) -> None:
        """Begin to connect."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep())

    async def start(self) -> None:
        """Connect, and return after the first attempt, whatever came of it.

        Raises SettingsError where the server is not what the settings take it for.
        """
        self.open()
        await self._tried.wait()
        if self._wrong is not None:
            await self.stop()
            raise SettingsError(str(self._wrong)) from self._wrong

    async def stop(self) -> None:
        """Close the connection; what still waits for an answer gets RedisUnavailable."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        # Whoever waits for the first attempt waits no longer.
        self._tried.set()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY
        while True:
            opened, address = loop.time(), self._where()
            try:
                await self._use(await connect(address, self._timeout, self._on_message), address)
                _log.warning("redis_lost", node=str(address))
            except RedisUnavailable as error:
                if not self._tried.is_set():
                    self._wrong = error if isinstance(error, WrongRedis) else None
                if self.failure != str(error):
                    # Once for each reason, not for each attempt.
                    self.failure = str(error)
                    _log.warning("redis_unavailable", node=str(address), reason=self.failure)
            self._tried.set()
            # A connection that did not last counts as a failed attempt.
            lasted = loop.time() - opened > _HEARTBEAT
            delay = _FIRST_DELAY if lasted else min(2 * delay, _LONGEST_DELAY)
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311  # spreads reconnects, hides nothing

    async def _use(self, wire: Wire, address: Address) -> None:
        """Offer the wire until it is lost."""
        self.wire, self.failure = wire, None
        try:
            if self._on_open is not None:
                self._on_open(wire)
            self._tried.set()
            while not wire.lost.done():
                await asyncio.wait({wire.lost}, timeout=_HEARTBEAT)
                if not await self._is_as_before(wire, address):
                    return
        finally:
            self.wire = None
            wire.close()

    async def _is_as_before(self, wire: Wire, address: Address) -> bool:
        """Make the server say something, which finds a dead one out, and return whether to go on with it."""
        try:
            if self._on_message is None:
                # Whoever holds a replica's wire would read what is old, and count what is dropped.
                return await identify(wire, address) and self._is_good(address)
            # A server that sends messages takes few other commands.
            await wire.submit("PING")
        except RedisReplyError:
            return True
        except RedisUnavailable:
            return False
        return self._is_good(address)
