"""Runs one export: one snapshot, one stream into the object store, one transaction that makes it complete.

It may be killed anywhere. The next attempt starts over under its own key and first clears away what lies
below the export's prefix, so there is never half a file to be fetched, and never two.
"""

from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final
from uuid import UUID

from mis_jobs.outbox import EventType, publish
from mis_models.exports import ExportRow
from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.session import TenantSession
from mis_tenancy.storage import Storage
from tenant_service.exports import places, repository
from tenant_service.exports import reading_repository as reading
from tenant_service.exports.archive import ArchiveWriter, Heading
from tenant_service.exports.data_types.media import OBJECTS
from tenant_service.exports.data_types.registry import DATA_TYPES
from tenant_service.exports.data_types.shape import DataType, DataTypeName
from tenant_service.exports.formats import ExportFormat
from tenant_service.exports.manifest import ArchivedTenant

KEPT: Final = timedelta(days=7)
# Seconds between two looks at whether the export is still wanted, each of which also tells how far it is.
_LOOK: Final = 0.5

GAVE_UP: Final = {
    "code": "export_failed",
    "detail": "The export could not be written, however often it was tried. Start a new one.",
}


class _NotWanted(Exception):
    """The export was cancelled, or a later attempt has taken it over."""


class _Progress:
    """Tells how far an attempt is, now and then, and stops it when it is not wanted any more."""

    def __init__(self, database: Database, row: ExportRow, total: int) -> None:
        self._database = database
        self._row = row
        self._total = total
        self._looked = monotonic()

    async def tell(self, rows: int) -> None:
        """Note that `rows` are written; raise _NotWanted where nobody waits for them."""
        if monotonic() - self._looked < _LOOK:
            return
        # Complete is what has been committed as such, so this stays below it.
        percent = min(99, rows * 100 // max(1, self._total))
        if not await _advance(self._database, self._row, {"progress": percent}):
            raise _NotWanted
        self._looked = monotonic()


class Exporter:
    """Runs exports as the application role.

    `snapshots` is a database of its own, because an export holds a connection for as long as it takes: work
    that needs one for a moment must not wait for that.
    """

    def __init__(self, database: Database, snapshots: Database, storage: Storage) -> None:
        self._database = database
        self._snapshots = snapshots
        self._storage = storage

    async def run(self, tenant_id: UUID, export_id: UUID) -> None:
        """Write the export's file from the beginning, or clear up behind one that has ended without it."""
        async with self._database.transaction(tenant_id) as session:
            row = await repository.begin(session, export_id)
        if row is not None and row.status == "completed":
            return
        storage = self._storage.of(tenant_id)
        await storage.empty(places.below(export_id))
        # The tenant may have been purged, with all its rows, while an earlier attempt was writing.
        if row is None or row.status != "running":
            return
        try:
            await self._write(row)
        except _NotWanted:
            await storage.delete(places.file_of(row))

    async def give_up(self, tenant_id: UUID, export_id: UUID, error: dict[str, Any] = GAVE_UP) -> None:
        """End an export that cannot be written, and tell of it."""
        async with self._database.transaction(tenant_id) as session:
            if await repository.fail(session, export_id, error, datetime.now(UTC)):
                _leave(session, export_id, "export.failed", {"error": error["code"]})
                publish(session, EventType.EXPORT_FAILED, {"exportId": str(export_id), "error": error})
        await self._storage.of(tenant_id).empty(places.below(export_id))

    async def discard(self, tenant_id: UUID, export_id: UUID) -> None:
        """Delete the export's file, and then say that it is gone."""
        await self._storage.of(tenant_id).empty(places.below(export_id))
        async with self._database.transaction(tenant_id) as session:
            await repository.expire(session, export_id)

    async def _write(self, row: ExportRow) -> None:
        types = [DATA_TYPES[DataTypeName(name)] for name in row.data_types]
        async with self._snapshots.snapshot(row.tenant_id) as session:
            await reading.be_patient(session)
            progress = _Progress(self._database, row, await _total(session, types))
            storage, heading = self._storage.of(row.tenant_id), await _heading(session, row)
            writer = ArchiveWriter(session, storage, heading, types, progress.tell)
            async with aclosing(writer.pieces()) as pieces:
                await storage.put(places.file_of(row), pieces)
        await self._complete(row, writer)

    async def _complete(self, row: ExportRow, writer: ArchiveWriter) -> None:
        now = datetime.now(UTC)
        counts = {name.value: count for name, count in writer.counts.items()}
        done = {
            "status": "completed",
            "progress": 100,
            "counts": counts,
            "size": writer.size,
            "sha256": writer.sha256,
            "completed_at": now,
            "expires_at": now + KEPT,
        }
        async with self._database.transaction(row.tenant_id) as session:
            if not await repository.advance(session, row.id, row.attempt, done):
                raise _NotWanted
            told = {"exportId": str(row.id), "format": row.format, "counts": counts, "size": writer.size}
            _leave(session, row.id, "export.completed", {"size": writer.size})
            publish(session, EventType.EXPORT_COMPLETED, told)


async def _advance(database: Database, row: ExportRow, changes: dict[str, Any]) -> bool:
    async with database.transaction(row.tenant_id) as session:
        return await repository.advance(session, row.id, row.attempt, changes)


async def _total(session: TenantSession, types: Sequence[DataType]) -> int:
    extracts = [extract for one in types for extract in one.extracts]
    extracts += [OBJECTS for one in types if one.has_objects]
    return sum([await reading.count(session, extract) for extract in extracts])


async def _heading(session: TenantSession, row: ExportRow) -> Heading:
    tenant, moment = await reading.tenant_and_moment(session)
    archived = ArchivedTenant(id=tenant.id, slug=tenant.slug, name=tenant.name, plan=tenant.plan)
    return Heading(row.id, archived, moment, ExportFormat(row.format))


def _leave(session: TenantSession, export_id: UUID, action: str, changes: dict[str, Any]) -> None:
    record_change(
        session,
        action=action,
        actor=None,
        actor_kind="system",
        resource=f"exports/{export_id}",
        changes={name: {"old": None, "new": value} for name, value in changes.items()},
    )
