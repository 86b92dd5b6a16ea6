"""Usage's upkeep in the worker: levels are noted, months added up, days copied, and old rows forgotten."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from mis_jobs.jobs import Job
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from mis_tenancy.session import PlatformSession
from tenant_service.usage import copying_repository as copying
from tenant_service.usage import upkeep_repository as upkeep
from tenant_service.usage.ranges import DAY, KEPT, day_of

SCHEDULES: Final = [
    Schedule("usage_levels", timedelta(minutes=5)),
    Schedule("usage_copies", timedelta(hours=1)),
    Schedule("usage_months", timedelta(hours=6)),
    Schedule("usage_retention", timedelta(days=1)),
]

# Some hundred thousand users' week is copied in a second or two.
_DAYS_AT_ONCE: Final = 7
_TENANTS_AT_ONCE: Final = 1_000

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


class DayCopies:
    """Copies who was active on the days that are over; some days of one tenant in each transaction.

    `platform` finds the tenants that are behind, `application` reads their users, bound to one at a time.
    """

    def __init__(self, platform: Database, application: Database) -> None:
        self._platform = platform
        self._application = application

    async def copy(self, job: Job) -> None:
        """Copy every tenant's days that are over and not copied, or have had late records since."""
        end = day_of(datetime.now(UTC))
        first = end - KEPT + DAY
        after, more = UUID(int=0), True
        while more:
            async with self._platform.platform_transaction() as session:
                tenants = await copying.tenants_behind(session, after, first, end, _TENANTS_AT_ONCE)
            for after in tenants:
                await self._copy_all(after, first, end)
            more = len(tenants) == _TENANTS_AT_ONCE

    async def _copy_all(self, tenant_id: UUID, first: datetime, end: datetime) -> None:
        copied = _DAYS_AT_ONCE
        while copied == _DAYS_AT_ONCE:
            async with self._application.system_transaction(tenant_id) as system:
                copied = await copying.copy_some(system, tenant_id, first, end, _DAYS_AT_ONCE)
