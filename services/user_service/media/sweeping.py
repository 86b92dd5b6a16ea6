"""Compares what lies in a tenant's store with its rows, and its counters with both.

Nothing in the ordinary course leaves an object without a row or a counter that is wrong; this is for what is
not ordinary: a restored backup, a store that was away for longer than a job is tried, a defect.
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

# No upload takes as long, and who restores a backup has a day to notice.
OLD_ENOUGH: Final = timedelta(hours=24)
_ASKED_AT_ONCE: Final = 500

_log = structlog.get_logger(__name__)


class Sweep:
    """Sweeps one tenant after another, as the application role."""

    def __init__(self, application: Database, storage: Storage) -> None:
        self._application = application
        self._storage = storage

    async def visit(self, tenant_id: UUID) -> None:
        """Delete objects that are no file's for a day, and correct the counters."""
        old: list[StoredObject] = []
        before = datetime.now(UTC) - OLD_ENOUGH
        async for stored in self._storage.of(tenant_id).list(places.PREFIX):
            if stored.modified_at < before:
                old.append(stored)
            if len(old) >= _ASKED_AT_ONCE:
                await self._drop_orphans(tenant_id, old)
                old = []
        await self._drop_orphans(tenant_id, old)
        await self._correct(tenant_id)

    async def _drop_orphans(self, tenant_id: UUID, found: Sequence[StoredObject]) -> None:
        ids = {stored.key: places.file_at(stored.key) for stored in found}
        async with self._application.transaction(tenant_id) as session:
            known = await repository.known(session, [one for one in ids.values() if one is not None])
        for key, media_id in ids.items():
            if media_id is not None and media_id not in known:
                _log.warning("media.orphan_deleted", tenant_id=str(tenant_id), key=key)
                await self._storage.of(tenant_id).delete(key)

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
