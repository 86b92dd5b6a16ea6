"""Usage's upkeep in the worker: what tenants hold is noted as it changes, and old rows are forgotten."""

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

    async def forget(self, job: Job) -> None:
        """Delete what no range can reach any more."""
        await self._over_all(upkeep.forget)

    async def _over_all(self, step: Step) -> None:
        after: UUID | None = UUID(int=0)
        while after is not None:
            async with self._platform.platform_transaction() as session:
                after = await step(session, after)
