"""The background half: deleted files' objects go, lapsed uploads too, and books and store are compared."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from mis_accounts import places
from mis_accounts.reservations import discard, give_up
from mis_jobs.jobs import Job
from mis_jobs.rounds import go_round
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from mis_tenancy.storage import Storage
from user_service.media import repository
from user_service.media.service import DISCARD
from user_service.media.sweeping import Sweep

UPKEEP: Final = "media_upkeep"
SWEEP: Final = "media_sweep"
SCHEDULES: Final = [Schedule(UPKEEP, timedelta(minutes=1)), Schedule(SWEEP, timedelta(days=1))]

__all__ = ["DISCARD", "SCHEDULES", "SWEEP", "UPKEEP", "MediaJobs"]

_log = structlog.get_logger(__name__)

# What one round of upkeep sees to; the next one goes on.
_AT_ONCE: Final = 200
_TENANTS_AT_ONCE: Final = 4
_TENANTS_LISTED: Final = 500
_SWEEP_SECONDS: Final = 3_600.0


class FilesComingBack(Exception):
    """What is to be deleted may just be restored."""


class MediaJobs:
    """Runs this feature's jobs; `platform` knows across tenants which uploads have lapsed."""

    def __init__(self, platform: Database, application: Database, storage: Storage) -> None:
        self._platform = platform
        self._application = application
        self._storage = storage
        self._sweep = Sweep(application, storage)

    async def discard(self, job: Job) -> None:
        """Delete the object of a file that was deleted, unless an import has brought the file back since."""
        if job.tenant_id is None:
            raise LookupError("A file's job names no tenant.")
        media_id = UUID(job.payload["mediaId"])
        async with self._application.transaction(job.tenant_id) as session:
            if await repository.is_file(session, media_id):
                return
            if await repository.is_importing(session):
                raise FilesComingBack("An import is under way, which may bring the file back. Try again.")
        await self._storage.of(job.tenant_id).delete(places.object_of(media_id))

    async def keep_up(self, job: Job) -> None:
        """Clear up behind the uploads whose processes died; one that cannot be cleared holds up no other."""
        now = datetime.now(UTC)
        async with self._platform.platform_transaction() as session:
            lapsed = await repository.lapsed(session, now, _AT_ONCE)
        for tenant_id, upload_id in lapsed:
            try:
                await self._clear(tenant_id, upload_id, now)
            except Exception as error:
                _log.warning("media.upkeep_failed", upload=str(upload_id), error=repr(error))

    async def sweep(self, job: Job) -> None:
        """Compare every tenant's store and counters with its rows, tenant after tenant."""
        after: UUID | None = None
        while tenants := await self._tenants(after):
            await go_round(tenants, self._sweep.visit, at_once=_TENANTS_AT_ONCE, seconds=_SWEEP_SECONDS)
            after = tenants[-1]

    async def _tenants(self, after: UUID | None) -> list[UUID]:
        async with self._platform.platform_transaction() as session:
            return list(await repository.tenants_after(session, after, _TENANTS_LISTED))

    async def _clear(self, tenant_id: UUID, upload_id: UUID, now: datetime) -> None:
        async with self._application.transaction(tenant_id) as session:
            # It may have been settled since, or gone on after all.
            if not await give_up(session, upload_id, lapsed_before=now):
                return
        await discard(self._application, self._storage.of(tenant_id), tenant_id, upload_id)
