"""Keeps the levels that metrics show: asked every minute, the named tenants chosen every quarter of an hour.

Asking costs one pass over the tenants' counters and one look for each named tenant; choosing looks once at
every tenant's ledger, which is why it is done less often. Each worker shows the same, as with the queue.
"""

import asyncio
from time import monotonic
from typing import Final
from uuid import UUID

import structlog

from mis_tenancy.busiest import replaced
from mis_tenancy.database import Database
from mis_worker.tenant_levels import repository
from mis_worker.tenant_levels.metrics import LevelMetrics

log = structlog.get_logger(__name__)

_PACE_SECONDS: Final = 60.0
_CHOICE_SECONDS: Final = 900.0


class LevelWatch:
    """The watch of one worker over at most `capacity` named tenants, as the platform role."""

    def __init__(self, platform: Database, metrics: LevelMetrics, capacity: int) -> None:
        self._platform = platform
        self._metrics = metrics
        self._capacity = capacity
        self._named: list[UUID] = []
        self._chosen_at: float | None = None

    async def run(self) -> None:
        """Look every minute until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:
                self._metrics.show(None)
                log.warning("tenant_levels.failed", error=repr(error))
            await asyncio.sleep(_PACE_SECONDS)

    async def look(self) -> None:
        """Find the levels and show them."""
        now = monotonic()
        is_full = len(self._named) >= self._capacity
        if self._chosen_at is None or not is_full or now - self._chosen_at >= _CHOICE_SECONDS:
            await self.choose()
            self._chosen_at = now
        async with self._platform.platform_transaction() as session:
            standing = await repository.standing(session, self._named)
        self._metrics.show(standing)
        # Whoever is purged frees a place.
        self._named = [level.id for level in standing.named]

    async def choose(self) -> None:
        """Give the places to the busiest tenants."""
        async with self._platform.platform_transaction() as session:
            busy = await repository.busy(session, self._named, self._capacity)
        named = {one: busy.get(one, 0.0) for one in self._named}
        others = {one: requests for one, requests in busy.items() if one not in named}
        lost, taken = replaced(named, others, self._capacity)
        self._named = [one for one in self._named if one not in lost] + taken
