"""The worker's half: it writes what was carried, however often it has to try."""

from mis_jobs.jobs import Job
from mis_tenancy.database import Database
from tenant_service.platform_trail import repository
from tenant_service.platform_trail.carrying import PLATFORM_TRAIL

__all__ = ["PLATFORM_TRAIL", "PlatformTrail"]


class PlatformTrail:
    """Writes into the platform's log as the platform's role."""

    def __init__(self, platform: Database) -> None:
        self._platform = platform

    async def write(self, job: Job) -> None:
        """Write the job's row, once."""
        async with self._platform.platform_transaction() as session:
            await repository.write_once(session, job.payload)
