"""The background half: exports are run, ended as failed when they are given up, and their files discarded."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from mis_jobs.jobs import Job
from mis_jobs.rounds import go_round
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from tenant_service.exports import repository
from tenant_service.exports.running import Exporter
from tenant_service.exports.service import DISCARD, RUN

UPKEEP: Final = "exports_upkeep"
SCHEDULES: Final = [Schedule(UPKEEP, timedelta(minutes=1))]

__all__ = ["DISCARD", "RUN", "SCHEDULES", "UPKEEP", "ExportJobs"]

# What one run of upkeep sees to, and how long it may take; the next one goes on.
_MOST: Final = 1_000
_AT_ONCE: Final = 4
_RUN: Final = 60.0


class ExportJobs:
    """Runs this feature's jobs; `platform` knows across tenants which exports are due."""

    def __init__(self, platform: Database, exporter: Exporter) -> None:
        self._platform = platform
        self._exporter = exporter

    async def run(self, job: Job) -> None:
        """Run the job's export."""
        await self._exporter.run(*_named(job))

    async def bury(self, job: Job) -> None:
        """End the job's export as failed."""
        await self._exporter.give_up(*_named(job))

    async def discard(self, job: Job) -> None:
        """Delete the file of the job's export."""
        await self._exporter.discard(*_named(job))

    async def keep_up(self, job: Job) -> None:
        """Delete files whose time is over."""
        async with self._platform.platform_transaction() as session:
            outlived = await repository.outlived(session, datetime.now(UTC), _MOST)
        await go_round(outlived, lambda one: self._exporter.discard(*one), at_once=_AT_ONCE, seconds=_RUN)


def _named(job: Job) -> tuple[UUID, UUID]:
    if job.tenant_id is None:
        raise LookupError("An export's job names no tenant.")
    return job.tenant_id, UUID(job.payload["exportId"])
