"""The background work of endings: purges that have become due, one job each, and later looks."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from mis_jobs.jobs import Job, enqueue
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from tenant_service.endings import purge_repository as repository
from tenant_service.endings.purge import Purge
from tenant_service.endings.service import PURGE, enqueue_purge
from tenant_service.endings.tombstone import LATER_LOOK

__all__ = ["DUE_PURGES", "LATER_LOOK", "PURGE", "SCHEDULES", "Purges"]

DUE_PURGES: Final = "due_purges"
SCHEDULES: Final = [Schedule(DUE_PURGES, timedelta(seconds=30))]

# A purge that has failed as often as a job may is tried again after so long: what was away may be back.
_PAUSE: Final = timedelta(hours=1)
_MOST: Final = 1_000


class Purges:
    """Runs this feature's jobs; they belong to the platform, because a tenant's own jobs go with it."""

    def __init__(self, platform: Database, purge: Purge) -> None:
        self._platform = platform
        self._purge = purge

    async def start_due(self, job: Job) -> None:
        """Enqueue the purge of every tenant whose grace has run out."""
        async with self._platform.platform_transaction() as session:
            for tenant_id in await repository.due_tenants(session, _PAUSE, _MOST):
                await enqueue_purge(session, tenant_id)

    async def purge(self, job: Job) -> None:
        """Purge the job's tenant; write down why that failed, and fail."""
        tenant_id = UUID(job.payload["tenantId"])
        try:
            await self._purge.run(tenant_id)
        except Exception as error:
            await self._purge.note_failure(tenant_id, error)
            raise

    async def rest(self, job: Job) -> None:
        """Write down that the purge is given up for now; the schedule tries it again in an hour."""
        await self._purge.note_rest(UUID(job.payload["tenantId"]))

    async def look_again(self, job: Job) -> None:
        """Look whether the job's tenant, purged some time ago, has left anything after all."""
        tenant_id = UUID(job.payload["tenantId"])
        if await self._purge.look_again(tenant_id):
            async with self._platform.platform_transaction() as session:
                await enqueue(session, LATER_LOOK, job.payload, tenant_id=None, lane=tenant_id)
