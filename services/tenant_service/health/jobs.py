"""Probes every active tenant about once a minute, quiet ones each five minutes, the most overdue first."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from mis_jobs.jobs import Job
from mis_jobs.rounds import go_round
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from tenant_service.health import repository
from tenant_service.health.metrics import ProbeMetrics
from tenant_service.health.service import Health

PROBES: Final = "probes"
SCHEDULES: Final = [Schedule(PROBES, timedelta(minutes=1))]

# A little less than the schedule's minute, so that a tenant is not passed over for being a second early.
_BUSY: Final = timedelta(seconds=45)
# Less than a status lives without a probe, or a tenant that is hardly used would have none.
_QUIET: Final = timedelta(minutes=4, seconds=45)
# Seconds that one run may take. Whom it does not reach is first in the next one.
_RUN: Final = 50.0
_MOST: Final = 30_000
# A store answers many at once, and each of them slowly; the database is asked by fewer, because a job of
# another kind wants its turn as well.
_AT_ONCE: Final = 24
CONNECTIONS: Final = 4


class ProbeRounds:
    """The worker's rounds: `platform` knows who is due, `health` probes in each tenant's own context."""

    def __init__(self, platform: Database, health: Health, metrics: ProbeMetrics) -> None:
        self._platform = platform
        self._health = health
        self._metrics = metrics

    async def probe(self, job: Job) -> None:
        """Probe the tenants that are due, a few at a time, for no longer than a run may take."""
        async with self._platform.platform_transaction() as session:
            due = await repository.due_tenants(session, _BUSY, _QUIET, _MOST)
        await go_round(due, self._visit, at_once=_AT_ONCE, seconds=_RUN)

    async def _visit(self, tenant_id: UUID) -> None:
        self._metrics.probed(await self._health.probe(tenant_id))
