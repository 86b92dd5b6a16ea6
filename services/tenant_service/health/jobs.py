"""Probes every active tenant about once a minute, quiet ones each five minutes, in batches for all workers.

A round is planned by one job a minute and worked off by as many as it takes. Each of those is a range of
tenants' ids and asks anew who of them is due, so that one which is resumed probes nobody twice. A new round
begins when nothing is left of the last one (docs/decisions/0040-rounds-in-batches.md).
"""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from mis_jobs.jobs import Job, enqueue, is_outstanding
from mis_jobs.rounds import go_round
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from tenant_service.health import repository
from tenant_service.health.metrics import ProbeMetrics
from tenant_service.health.repository import Batch
from tenant_service.health.service import Health

PROBES: Final = "probes"
BATCH: Final = "probe_batch"
SCHEDULES: Final = [Schedule(PROBES, timedelta(minutes=1))]
# Batches take turns with the tenants' jobs, so that hundreds of them do not delay the platform's others.
LANE: Final = UUID("00000000-0000-4000-8000-70726f626573")

# A little less than the schedule's minute, so that a tenant is not passed over for being a second early.
_BUSY: Final = timedelta(seconds=45)
# Less than a status lives without a probe, or a tenant that is hardly used would have none.
_QUIET: Final = timedelta(minutes=4, seconds=45)
# Tenants of a batch: a second's work or so, of which little is done again after a crash.
_SIZE: Final = 500
# Seconds that a batch may take. Whom it does not reach is still due in the next round.
_RUN: Final = 50.0
# A store answers many at once, and each of them slowly; the database is asked by fewer, because a job of
# another kind wants its turn as well.
_AT_ONCE: Final = 24
CONNECTIONS: Final = 4

log = structlog.get_logger(__name__)


class ProbeRounds:
    """A worker's part of the rounds.

    `platform` knows who is due, `health` probes in each tenant's own context. The batches that a worker has
    under way share what it does at once.
    """

    def __init__(self, platform: Database, health: Health, metrics: ProbeMetrics) -> None:
        self._platform = platform
        self._health = health
        self._metrics = metrics
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def plan(self, job: Job) -> None:
        """Make the batches of a round, unless some of the last one are left."""
        async with self._platform.platform_transaction() as session:
            if await is_outstanding(session, BATCH, LANE):
                return
            for number, batch in enumerate(await repository.due_batches(session, _BUSY, _QUIET, _SIZE)):
                payload = {"first": str(batch.first), "last": str(batch.last)}
                await enqueue(session, BATCH, payload, tenant_id=None, lane=LANE, dedupe_key=str(number))

    async def probe(self, job: Job) -> None:
        """Probe the tenants of a batch that are due, a few at a time, for no longer than it may take."""
        batch = Batch(UUID(job.payload["first"]), UUID(job.payload["last"]))
        try:
            async with self._platform.platform_transaction() as session:
                due = await repository.due_tenants(session, _BUSY, _QUIET, batch)
        except Exception as error:
            # They stay due, and a batch that were tried again and again would hold up the next round.
            log.warning("health.batch_failed", error=repr(error))
            return
        await go_round(due, self._visit, at_once=_AT_ONCE, seconds=_RUN)

    async def _visit(self, tenant_id: UUID) -> None:
        async with self._turns:
            self._metrics.probed(await self._health.probe(tenant_id))
