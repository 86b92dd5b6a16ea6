"""Looks every minute for tenants whose billing has something to do, and gives each a job of its own.

A job a tenant: one whose billing fails is tried again by itself and holds nobody up.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from mis_jobs.jobs import Job, enqueue
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from tenant_service.billing import repository
from tenant_service.billing.upkeep import GRACE, PeriodEnd, bring_up

ROUND: Final = "billing"
UPKEEP: Final = "billing_upkeep"
SCHEDULES: Final = [Schedule(ROUND, timedelta(minutes=1))]

# Whom a round does not reach is first in the next one.
_MOST: Final = 2_000


def _now() -> datetime:
    return datetime.now(UTC)


class BillingJobs:
    """The worker's share of billing: `platform` knows who is due, `application` works inside a tenant."""

    def __init__(
        self,
        platform: Database,
        application: Database,
        period_end: PeriodEnd,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._platform = platform
        self._application = application
        self._period_end = period_end
        self._clock = clock

    async def find_due(self, job: Job) -> None:
        """Enqueue a job for each tenant that is due; one that waits already stands in."""
        async with self._platform.platform_transaction() as session:
            for tenant_id in await repository.due_tenants(session, self._clock(), GRACE, _MOST):
                await enqueue(session, UPKEEP, {}, tenant_id=tenant_id, dedupe_key=UPKEEP)

    async def bring_up(self, job: Job) -> None:
        """Do whatever is due for the job's tenant."""
        if job.tenant_id is not None:
            now = self._clock()
            await self._period_end.prepare(job.tenant_id, now)
            async with self._application.transaction(job.tenant_id) as session:
                await bring_up(session, now, self._period_end)
