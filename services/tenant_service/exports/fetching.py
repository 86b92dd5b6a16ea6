"""How an export's file leaves: by a link that was signed for ten minutes and is the whole proof.

The link opens the file for whoever has it, so what it opens is judged again when it is used: the export must
still have its file, and the tenant must still be one whose owner may take its data along.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from mis_http.files.downloads import Download
from mis_http.files.signed_links import LinkRefused, LinkSigner, SignedQuery
from mis_models.exports import ExportRow
from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.errors import ActAsRequired
from mis_tenancy.gate import PAST_DUE
from mis_tenancy.storage import ObjectNotFound, Storage
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from tenant_service.exports import places, repository
from tenant_service.exports.errors import ExportNotFound
from tenant_service.exports.service import is_fetchable
from tenant_service.trail import Caller

LIFETIME: Final = timedelta(minutes=10)
CONTENT_TYPE: Final = "application/zip"


def path_of(tenant_id: UUID, export_id: UUID) -> str:
    """Return the path of an export's file, which its link signs."""
    return f"/api/v1/tenants/{tenant_id}/exports/{export_id}/file"


class Links:
    """Makes the links to exports' files; `caller` is whom they are shown."""

    def __init__(self, signer: LinkSigner, public_url: str, caller: Caller) -> None:
        self._signer = signer
        self._public_url = public_url
        self._caller = caller

    def shown(self, row: ExportRow) -> str | None:
        """Return the URL of the export's file, None where it has none or the caller may not fetch it.

        Its host is the one that the suite is configured with, never one that a request names.
        """
        if self._caller.is_operator or not is_fetchable(row, datetime.now(UTC)):
            return None
        return self._public_url + self._signed(row)

    def redirect(self, row: ExportRow) -> str:
        """Return where the export's file is fetched, for a client that is on the right host already.

        Raise ActAsRequired for an operator outside the tenant, ExportNotFound where there is no file.
        """
        if self._caller.is_operator:
            raise ActAsRequired
        if not is_fetchable(row, datetime.now(UTC)):
            raise ExportNotFound
        return self._signed(row)

    def _signed(self, row: ExportRow) -> str:
        path = path_of(row.tenant_id, row.id)
        return self._signer.link("GET", path, row.tenant_id, now=datetime.now(UTC), lifetime=LIFETIME)


class Fetching:
    """Hands out files to who comes with a good link."""

    def __init__(self, database: Database, storage: Storage, links: LinkSigner) -> None:
        self._database = database
        self._storage = storage
        self._links = links

    async def open(
        self, tenant_id: UUID, export_id: UUID, sent: SignedQuery, *, ip: str, request_id: str
    ) -> Download:
        """Return the file and leave a trace of it; raise LinkRefused for whatever the link does not open."""
        now = datetime.now(UTC)
        self._links.check("GET", path_of(tenant_id, export_id), tenant_id, sent, now=now)
        async with self._database.transaction(tenant_id) as session:
            tenant, row = await repository.find_with_tenant(session, export_id)
            if tenant is None or row is None or not (may_leave(tenant) and is_fetchable(row, now)):
                raise LinkRefused
            record_change(
                session,
                action="export.downloaded",
                actor=None,
                actor_kind="link",
                resource=f"exports/{export_id}",
                ip=ip,
                request_id=request_id,
            )
        return await self._download(tenant.slug, row)

    async def _download(self, slug: str, row: ExportRow) -> Download:
        storage = self._storage.of(row.tenant_id)
        try:
            stored = await storage.head(places.file_of(row))
        except ObjectNotFound as error:
            # It was deleted since the row was read.
            raise LinkRefused from error
        return Download(
            filename=f"{slug}-{row.created_at:%Y-%m-%d}.zip",
            content_type=CONTENT_TYPE,
            size=stored.size,
            tag=row.sha256 or "",
            pieces=lambda start, stop: storage.read(stored, start, stop),
        )


def may_leave(tenant: TenantRow) -> bool:
    """Return whether data may leave the tenant: it is open, or ending and its owner takes it along."""
    past_due = tenant.status == TenantStatus.SUSPENDED and tenant.status_reason == PAST_DUE
    return past_due or tenant.status in (TenantStatus.ACTIVE, TenantStatus.PENDING_DELETION)
