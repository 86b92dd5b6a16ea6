"""Sweeps up logos that no look names any more."""

from datetime import UTC, datetime, timedelta
from typing import Final

from mis_http.looks import LOGOS, look_set
from mis_jobs.jobs import Job
from mis_tenancy.database import Database
from mis_tenancy.storage import Storage

LOGO_CLEANUP: Final = "logo_cleanup"
# By then nobody is still about to name what was uploaded before.
CLEANUP_AFTER: Final = timedelta(minutes=5)


class LogoCleanup:
    """Deletes a tenant's logos but the one it shows, and but those that somebody may be about to name."""

    def __init__(self, application: Database, storage: Storage) -> None:
        self._application = application
        self._storage = storage

    async def sweep(self, job: Job) -> None:
        """Delete what is left over; run again, it finds nothing."""
        if job.tenant_id is None:
            raise ValueError("A cleanup of logos is a tenant's.")
        storage = self._storage.of(job.tenant_id)
        found = [stored async for stored in storage.list(LOGOS)]
        # Asked after the listing: what is listed and not shown now is never shown again.
        logo = (await look_set(self._application, job.tenant_id)).logo
        kept = None if logo is None else logo.key
        for stored in found:
            if stored.key != kept and datetime.now(UTC) - stored.modified_at >= CLEANUP_AFTER:
                await storage.delete(stored.key)
