"""Compares what lies in a tenant's store with its rows, and its counters with both.

Nothing in the ordinary course leaves an object without a row or a counter that is wrong; this is for what is
not ordinary: a restored backup, a store that was away for longer than a job is tried, a defect. So an object
that is found is only noted, and goes a day later: whoever has restored the wrong backup has that day.

Pictures of verifications are stored before their rows commit, so they are looked through in the same way.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from mis_accounts import places
from mis_accounts.claims import hold_counters
from mis_tenancy.database import Database
from mis_tenancy.storage import Storage, StoredObject
from user_service.media import repository

# No upload that has just begun is as old.
OLD_ENOUGH: Final = timedelta(hours=1)
NOTICE: Final = timedelta(hours=24)
_ASKED_AT_ONCE: Final = 500

_log = structlog.get_logger(__name__)


class Sweep:
    """Sweeps one tenant after another, as the application role."""

    def __init__(self, application: Database, storage: Storage) -> None:
        self._application = application
        self._storage = storage

    async def visit(self, tenant_id: UUID) -> None:
        """Have objects discarded that are no file's and no verification's, and correct the counters."""
        for prefix in (places.PREFIX, places.PICTURES):
            await self._look_through(tenant_id, prefix)
        await self._correct(tenant_id)

    async def _look_through(self, tenant_id: UUID, prefix: str) -> None:
        old: list[StoredObject] = []
        before = datetime.now(UTC) - OLD_ENOUGH
        async for stored in self._storage.of(tenant_id).list(prefix):
            if stored.modified_at < before:
                old.append(stored)
            if len(old) >= _ASKED_AT_ONCE:
                await self._note_orphans(tenant_id, old)
                old = []
        await self._note_orphans(tenant_id, old)

    async def _note_orphans(self, tenant_id: UUID, found: Sequence[StoredObject]) -> None:
        ids = {one for one in (places.id_at(stored.key) for stored in found) if one is not None}
        now = datetime.now(UTC)
        async with self._application.transaction(tenant_id) as session:
            orphans = ids - await repository.known(session, ids)
            await repository.note_orphans(session, orphans, now, now + NOTICE)
        if orphans:
            _log.warning("media.orphans_found", tenant_id=str(tenant_id), count=len(orphans))

    async def _correct(self, tenant_id: UUID) -> None:
        async with self._application.transaction(tenant_id) as session:
            counters = await hold_counters(session)
            size, files = await repository.counted(session)
            if (counters.storage_bytes, counters.files) != (size, files):
                _log.warning(
                    "media.counters_corrected",
                    tenant_id=str(tenant_id),
                    storage_bytes=[counters.storage_bytes, size],
                    files=[counters.files, files],
                )
                await repository.correct(session, size, files)
