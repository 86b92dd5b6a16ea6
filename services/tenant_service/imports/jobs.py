"""The background half: imports are carried out, or ended where they are given up or never came in."""

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
    """Runs this feature's jobs; `platform` knows across tenants which uploads have stopped coming."""

    def __init__(self, platform: Database, runs: ImportRuns) -> None:
        self._platform = platform
        self._runs = runs

    async def run(self, job: Job) -> None:
        """Carry the job's import out."""
        await self._runs.run(*_named(job))

    async def bury(self, job: Job) -> None:
        """End the job's import as failed."""
        await self._runs.give_up(*_named(job))

    async def keep_up(self, job: Job) -> None:
        """End the imports whose upload broke off."""
        now = datetime.now(UTC)
        async with self._platform.platform_transaction() as session:
            silent = await repository.silent(session, now - _PATIENCE, _MOST)
        await go_round(silent, lambda one: self._runs.give_up(*one), at_once=_AT_ONCE, seconds=_RUN)


def _named(job: Job) -> tuple[UUID, UUID]:
    if job.tenant_id is None:
        raise LookupError("An import's job names no tenant.")
    return job.tenant_id, UUID(job.payload["importId"])
