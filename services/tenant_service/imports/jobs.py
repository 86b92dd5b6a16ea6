"""The background half: imports are carried out, and those that nobody would end are ended."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from mis_jobs.jobs import Job
from mis_jobs.rounds import go_round
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from tenant_service.imports import repository
from tenant_service.imports.running import ImportRuns
from tenant_service.imports.service import RUN

UPKEEP: Final = "imports_upkeep"
SCHEDULES: Final = [Schedule(UPKEEP, timedelta(minutes=1))]

__all__ = ["RUN", "SCHEDULES", "UPKEEP", "ImportJobs"]

# What one run of upkeep sees to, and how long it may take; the next one goes on.
_MOST: Final = 1_000
_AT_ONCE: Final = 4
_RUN: Final = 60.0
# No upload that is still arriving is this old.
_PATIENCE: Final = timedelta(hours=6)


class ImportJobs:
    """Runs this feature's jobs; `platform` knows across tenants which imports are left behind."""

    def __init__(self, platform: Database, runs: ImportRuns) -> None:
        self._platform = platform
        self._runs = runs

    async def run(self, job: Job) -> None:
        """Carry the job's import out; end it as failed where this was the last attempt."""
        if job.tenant_id is None:
            raise LookupError("An import's job names no tenant.")
        import_id = UUID(job.payload["importId"])
        try:
            await self._runs.run(job.tenant_id, import_id)
        except Exception:
            if job.is_last_attempt:
                await self._runs.give_up(job.tenant_id, import_id)
            raise

    async def keep_up(self, job: Job) -> None:
        """End the imports whose workers died once too often, or whose upload broke off."""
        now = datetime.now(UTC)
        async with self._platform.platform_transaction() as session:
            abandoned = await repository.abandoned(session, now, _PATIENCE, _MOST)
        await go_round(abandoned, lambda one: self._runs.give_up(*one), at_once=_AT_ONCE, seconds=_RUN)
