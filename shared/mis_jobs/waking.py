"""Waits for work: until a commit that brought some wakes the process, or the next look is due anyway."""

import asyncio
import contextlib

from mis_tenancy.redis import Redis


class Wakeup:
    """The wake-ups on one channel of Redis; a wait ends after `interval` seconds even when none arrives."""

    def __init__(self, redis: Redis | None, channel: str, interval: float) -> None:
        self._redis = redis
        self._channel = channel
        self._interval = interval
        self._woken = asyncio.Event()

    async def start(self) -> None:
        """Listen from now on."""
        if self._redis is not None:
            await self._redis.subscribe(self._channel, lambda _: self.wake())

    def wake(self) -> None:
        """End the present wait, or the next one."""
        self._woken.set()

    async def wait(self) -> None:
        """Return once woken, or after the interval; what wakes meanwhile counts for the next wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval):
                await self._woken.wait()
        self._woken.clear()
