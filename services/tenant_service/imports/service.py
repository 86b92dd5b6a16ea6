"""The rules of imports: verified before they are accepted, one at a time for a tenant, or only rehearsed."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, Final
from uuid import UUID

from mis_http.pages import Page
from mis_jobs.jobs import enqueue
from mis_models.imports import ImportRow
from mis_tenancy.access import Permission, require_permission, widest_grant
from mis_tenancy.database import Database
from mis_tenancy.errors import ActAsRequired
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.storage import TenantStorage
from mis_tenancy.turns import lock_tenant
from tenant_service.exports.data_types.shape import DataTypeName
from tenant_service.imports import repository
from tenant_service.imports.archive import Archive, verified
from tenant_service.imports.errors import ImportInProgress, ImportNotFound
from tenant_service.imports.importers import Importer
from tenant_service.imports.importing import apply
from tenant_service.imports.report import Report
from tenant_service.imports.running import archive_of, below
from tenant_service.trail import Caller

RUN: Final = "imports.run"

# What writing each part takes elsewhere, which a narrow key may lack.
_NEEDED: Final = {
    DataTypeName.CONFIGURATIONS: Permission.CONFIG_WRITE,
    DataTypeName.MEDIA: Permission.MEDIA_WRITE,
}
_CHUNK: Final = 2**20
_BROKE_OFF: Final = {"code": "upload_failed", "detail": "The archive could not be kept. Send it again."}


@dataclass(slots=True)
class _Sent:
    """An archive on its way into the store, and what has gone by."""

    file: IO[bytes]
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        await asyncio.to_thread(self.file.seek, 0)
        while piece := await asyncio.to_thread(self.file.read, _CHUNK):
            self.digest.update(piece)
            self.size += len(piece)
            yield piece


class Imports:
    """The imports of the session's tenant, as `caller` may ask for them.

    `database` is for what commits apart from the request: the mark that an archive is being kept, and the
    rehearsal that is taken back.
    """

    def __init__(
        self, session: TenantSession, database: Database, storage: TenantStorage, caller: Caller
    ) -> None:
        self._session = session
        self._database = database
        self._storage = storage
        self._caller = caller

    async def rehearse(self, file: IO[bytes]) -> Report:
        """Return what importing the archive would do, without doing it; raise as `start` does."""
        archive = await self._permitted(file)
        by = Importer(self._caller.id, widest_grant(self._caller.principal))
        async with self._database.session(tenant_of(self._session)) as session, session.begin() as taken_back:
            report = await apply(session, archive, by, datetime.now(UTC))
            await taken_back.rollback()
        return report

    async def start(self, file: IO[bytes]) -> ImportRow:
        """Verify and keep the archive, and have it imported.

        Raise ArchiveRefused, ImportInProgress, or PermissionDenied for a part that the caller may not write.
        """
        await self._permitted(file)
        import_id = await self._mark()
        sent = _Sent(file)
        try:
            await self._storage.put(archive_of(import_id), sent.pieces())
            return await self._enqueue(import_id, sent)
        except BaseException:
            # What the request's transaction holds would make the other one wait for it.
            await asyncio.shield(self._session.rollback())
            await asyncio.shield(self._drop(import_id))
            raise

    async def refuse_second(self) -> None:
        """Raise ImportInProgress while another import has not ended; ask before an archive is received."""
        async with self._database.transaction(tenant_of(self._session)) as session:
            other = await repository.unfinished(session)
        if other is not None:
            raise ImportInProgress(importId=str(other))

    async def page(self, asked: Page) -> Sequence[ImportRow]:
        """Return the page's imports, and one more where there is more."""
        return await repository.page(self._session, asked)

    async def get(self, import_id: UUID) -> ImportRow:
        """Return the import; raise ImportNotFound."""
        row = await repository.find(self._session, import_id)
        if row is None:
            raise ImportNotFound
        return row

    async def _permitted(self, file: IO[bytes]) -> Archive:
        archive = await asyncio.to_thread(verified, file)
        for part, permission in _NEEDED.items():
            if archive.manifest.counts.get(part):
                require_permission(self._caller.principal, permission)
        return archive

    async def _mark(self) -> UUID:
        """Write down that an archive is being kept, so that one that is left behind can be found."""
        role = widest_grant(self._caller.principal)
        row = ImportRow(
            id=new_id(),
            status="receiving",
            requested_by=self._caller.id,
            requested_role=None if role is None else role.value,
            created_at=datetime.now(UTC),
        )
        async with self._database.transaction(tenant_of(self._session)) as session:
            session.add(row)
        return row.id

    async def _enqueue(self, import_id: UUID, sent: _Sent) -> ImportRow:
        # Whoever holds the tenant's row is alone in starting an import.
        await lock_tenant(self._session)
        other = await repository.unfinished(self._session)
        if other is not None:
            raise ImportInProgress(importId=str(other))
        row = await self.get(import_id)
        payload = {"importId": str(import_id)}
        row.job_id = await enqueue(self._session, RUN, payload, tenant_id=row.tenant_id)
        row.status, row.size, row.sha256 = "queued", sent.size, sent.digest.hexdigest()
        changes = {"size": {"old": None, "new": row.size}}
        self._caller.record(self._session, "import.started", resource=f"imports/{row.id}", changes=changes)
        await self._session.flush()
        return row

    async def _drop(self, import_id: UUID) -> None:
        async with self._database.transaction(tenant_of(self._session)) as session:
            await repository.fail(session, import_id, _BROKE_OFF, datetime.now(UTC))
        await self._storage.empty(below(import_id))


def refuse_outsiders(caller: Caller) -> None:
    """Raise ActAsRequired for an operator outside the tenant: an archive plants tenant content."""
    if caller.is_operator:
        raise ActAsRequired
