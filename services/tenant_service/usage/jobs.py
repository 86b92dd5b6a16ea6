"""Usage's upkeep in the worker: levels are noted, months added up, and old rows forgotten."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final
from uuid import UUID

from mis_jobs.jobs import Job
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from mis_tenancy.session import PlatformSession
from tenant_service.usage import upkeep_repository as upkeep

SCHEDULES: Final = [
    Schedule("usage_levels", timedelta(minutes=5)),
    Schedule("usage_months", timedelta(hours=6)),
    Schedule("usage_retention", timedelta(days=1)),
]

Step = Callable[[PlatformSession, UUID], Awaitable[UUID | None]]


class UsageUpkeep:
    """Upkeep over all tenants, some in each transaction; it can stop anywhere."""

    def __init__(self, platform: Database) -> None:
        self._platform = platform

    async def note_levels(self, job: Job) -> None:
        """Note how many users and bytes each tenant holds, where that has changed."""
        await self._over_all(upkeep.note_levels)

    async def add_up(self, job: Job) -> None:
        """Add up the months that are over, so that a year is quick to read."""
        await self._over_all(upkeep.add_up)

    async def forget(self, job: Job) -> None:
        """Delete what no range can reach any more."""
        await self._over_all(upkeep.forget)

    async def _over_all(self, step: Step) -> None:
        after: UUID | None = UUID(int=0)
        while after is not None:
            async with self._platform.platform_transaction() as session:
                after = await step(session, after)
