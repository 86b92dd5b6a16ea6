"""The platform's housekeeping: old rows are forgotten, and partitions are made ahead of time."""

from datetime import timedelta
from typing import Final

from mis_jobs.jobs import Job
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from mis_worker.retention import repository

SCHEDULES: Final = [
    Schedule("audit_partitions", timedelta(days=1)),
    Schedule("retention", timedelta(minutes=10)),
]

# Partitions are made this many months ahead, so that a worker may be away for long.
_MONTHS_AHEAD: Final = 3


class Retention:
    """The platform's housekeeping, as the platform role."""

    def __init__(self, platform: Database) -> None:
        self._platform = platform

    async def make_partitions(self, job: Job) -> None:
        """Make the coming months' partitions of audit_logs."""
        async with self._platform.platform_transaction() as session:
            await repository.make_partitions(session, _MONTHS_AHEAD)

    async def forget(self, job: Job) -> None:
        """Delete what has been kept long enough, each table in a transaction of its own."""
        for table in repository.EXPIRED:
            async with self._platform.platform_transaction() as session:
                await repository.forget(session, table)
