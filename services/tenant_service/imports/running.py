"""Runs one import: the archive is fetched and verified again, and applied in one transaction.

What it changes, its report and its end commit together. Killed before that it has changed nothing and is run
again from the beginning; killed after it, it only has the archive left to delete.
"""

import asyncio
import hashlib
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import IO, Any, Final
from uuid import UUID

from mis_accounts.seats import Seats
from mis_models.imports import ImportRow
from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.errors import ProblemError, TenantUnavailable
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.storage import Storage
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import Role, TenantStatus
from tenant_service.imports import repository
from tenant_service.imports.archive import Archive, verified
from tenant_service.imports.errors import ArchiveMalformed, TenantNotActive
from tenant_service.imports.importers import Importer
from tenant_service.imports.importing import apply, judged_media
from tenant_service.imports.media import Staged
from tenant_service.imports.staging import Staging

GAVE_UP: Final = {
    "code": "import_failed",
    "detail": "The import could not be carried out, however often it was tried. Nothing has been changed.",
}
_COMING_BACK: Final = frozenset({TenantStatus.PROVISIONING, TenantStatus.MAINTENANCE})


def below(import_id: UUID) -> str:
    """Return the prefix of all that belongs to an import."""
    return f"imports/{import_id}"


def archive_of(import_id: UUID) -> str:
    """Return the key of the archive that is to be imported."""
    return f"{below(import_id)}/archive.zip"


class ImportRuns:
    """Runs imports as the application role."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage

    async def run(self, tenant_id: UUID, import_id: UUID) -> None:
        """Carry the import out, unless it has ended; what its archive or the tenant forbids fails it."""
        async with self._database.transaction(tenant_id) as session:
            row = await repository.lock(session, import_id)
            is_wanted = row is not None and row.status in repository.UNFINISHED
            if row is not None and is_wanted:
                row.status = "running"
        if row is not None and is_wanted:
            staging = Staging(self._database, self._storage.of(tenant_id), tenant_id, import_id)
            try:
                await self._carry_out(row, staging)
            except ProblemError as refusal:
                if refusal.status >= 500:
                    raise
                told = {"code": refusal.code, "detail": str(refusal), **refusal.members}
                await self.give_up(tenant_id, import_id, told)
                await staging.drop()
                return
        await self._storage.of(tenant_id).empty(below(import_id))

    async def give_up(self, tenant_id: UUID, import_id: UUID, error: dict[str, Any] = GAVE_UP) -> None:
        """End an import that cannot be carried out, and drop its archive."""
        async with self._database.transaction(tenant_id) as session:
            if await repository.fail(session, import_id, error, datetime.now(UTC)):
                _leave(session, import_id, "import.failed", None, {"error": error["code"]})
        await self._storage.of(tenant_id).empty(below(import_id))

    async def _carry_out(self, row: ImportRow, staging: Staging) -> None:
        with TemporaryFile() as file:
            await self._fetch(row, file)
            archive = await asyncio.to_thread(verified, file)
            await self._apply(row, archive, staging)

    async def _apply(self, row: ImportRow, archive: Archive, staging: Staging) -> None:
        by, now = _importer(row), datetime.now(UTC)
        async with self._database.transaction(row.tenant_id) as session:
            files = (await judged_media(session, archive, by, now)).new
        try:
            staged = await staging.bring(archive, files)
            async with self._database.transaction(row.tenant_id) as session:
                await _import(session, row.id, archive, staged, now)
        except BaseException:
            await asyncio.shield(staging.release())
            raise

    async def _fetch(self, row: ImportRow, file: IO[bytes]) -> None:
        storage, digest = self._storage.of(row.tenant_id), hashlib.sha256()
        stored = await storage.head(archive_of(row.id))
        async for piece in storage.read(stored):
            digest.update(piece)
            await asyncio.to_thread(file.write, piece)
        if digest.hexdigest() != row.sha256:
            raise ArchiveMalformed("The stored archive is not the one that was sent.")


def _importer(row: ImportRow) -> Importer:
    return Importer(row.requested_by, None if row.requested_role is None else Role(row.requested_role))


async def _import(
    session: TenantSession, import_id: UUID, archive: Archive, staged: Staged, now: datetime
) -> None:
    row = await repository.lock(session, import_id)
    if row is None or row.status != "running":
        # It was given up meanwhile, or a second worker has carried it out.
        return
    _require_active(await session.get_one(TenantRow, tenant_of(session)))
    report = await apply(session, archive, _importer(row), now, staged=staged)
    if report.seats is not None and not report.seats.fits:
        raise Seats(report.seats.limit, report.seats.used).refusal(report.seats.requested)
    row.status, row.report, row.completed_at = "completed", report.plain(), now
    counts = {
        name.value: {"create": tally.create, "update": tally.update}
        for name, tally in report.data_types.items()
    }
    _leave(session, import_id, "import.completed", row.requested_by, counts)


def _require_active(tenant: TenantRow) -> None:
    status = TenantStatus(tenant.status)
    if status in _COMING_BACK:
        raise TenantUnavailable
    if status is not TenantStatus.ACTIVE:
        raise TenantNotActive


def _leave(
    session: TenantSession, import_id: UUID, action: str, actor: UUID | None, changes: dict[str, Any]
) -> None:
    record_change(
        session,
        action=action,
        actor=actor,
        actor_kind="system",
        resource=f"imports/{import_id}",
        changes={name: {"old": None, "new": value} for name, value in changes.items()},
    )
