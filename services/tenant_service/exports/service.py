"""The rules of exports: one at a time for a tenant, and a file that is fetched by a link for a week."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from mis_http.pages import Page
from mis_jobs.jobs import enqueue
from mis_models.exports import ExportRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession, tenant_of
from tenant_service.exports import repository
from tenant_service.exports.data_types.shape import DataTypeName
from tenant_service.exports.errors import ExportInProgress, ExportNotFound
from tenant_service.exports.formats import ExportFormat
from tenant_service.trail import Caller

RUN: Final = "exports.run"
DISCARD: Final = "exports.discard"


Hold = Callable[[str], None]


class Exports:
    """The exports of the session's tenant, as `caller` may ask for them."""

    def __init__(self, session: TenantSession, caller: Caller) -> None:
        self._session = session
        self._caller = caller

    async def start(self, types: Sequence[DataTypeName], written_in: ExportFormat) -> ExportRow:
        """Ask for an export; raise ExportInProgress while another one has not ended."""
        export_id, tenant_id = new_id(), tenant_of(self._session)
        names = [name.value for name in types]
        job_id = await enqueue(self._session, RUN, {"exportId": str(export_id)}, tenant_id=tenant_id)
        row = {
            "id": export_id,
            "job_id": job_id,
            "status": "queued",
            "format": written_in.value,
            "data_types": names,
            "requested_by": self._caller.id,
            "created_at": datetime.now(UTC),
        }
        if not await repository.add(self._session, row):
            raise ExportInProgress(exportId=str(await repository.unfinished(self._session) or ""))
        asked = {"data_types": {"old": None, "new": names}, "format": {"old": None, "new": row["format"]}}
        self._caller.record(self._session, "export.started", resource=f"exports/{export_id}", changes=asked)
        return await self.get(export_id)

    async def page(self, asked: Page) -> Sequence[ExportRow]:
        """Return the page's exports, and one more where there is more."""
        return await repository.page(self._session, asked)

    async def get(self, export_id: UUID) -> ExportRow:
        """Return the export; raise ExportNotFound."""
        return _found(await repository.find(self._session, export_id))

    async def remove(self, export_id: UUID, hold: Hold) -> None:
        """Cancel an export that has not ended, or give up the file of one that is complete.

        Either is in force at once. The file is deleted in the background, by whoever is writing it or by a
        job of its own. Raise ExportNotFound, or what `hold` raises for a version the caller did not expect.
        """
        row = _found(await repository.lock(self._session, export_id))
        hold(version_of(row))
        if row.status in repository.UNFINISHED:
            self._end(row, "cancelled", "export.cancelled")
        elif row.status == "completed":
            self._end(row, "expired", "export.deleted")
            payload = {"exportId": str(row.id)}
            await enqueue(self._session, DISCARD, payload, tenant_id=row.tenant_id)

    def _end(self, row: ExportRow, status: str, action: str) -> None:
        change = {"status": {"old": row.status, "new": status}}
        row.status, row.completed_at = status, row.completed_at or datetime.now(UTC)
        self._caller.record(self._session, action, resource=f"exports/{row.id}", changes=change)


def version_of(row: ExportRow) -> str:
    """Return what changes whenever the export is shown differently."""
    return f"{row.status}-{row.attempt}-{row.progress}"


def is_fetchable(row: ExportRow, now: datetime) -> bool:
    """Return whether the export has a file that may be fetched."""
    return row.status == "completed" and row.expires_at is not None and row.expires_at > now


def _found(row: ExportRow | None) -> ExportRow:
    if row is None:
        raise ExportNotFound
    return row
