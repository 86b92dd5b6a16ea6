"""The rules of a tenant's files: who sees, hands out and deletes them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from mis_accounts import places
from mis_accounts.space import release_space
from mis_http.etags import Precondition
from mis_http.files.downloads import Download
from mis_http.files.file_names import served_as
from mis_http.files.signed_links import LinkSigner
from mis_http.pages import Page
from mis_jobs.jobs import enqueue
from mis_models.media import MediaRow
from mis_tenancy.access import Permission, require_permission
from mis_tenancy.request_changes import principal_of, record
from mis_tenancy.session import TenantSession
from mis_tenancy.storage import ObjectNotFound, TenantStorage
from mis_tenancy.tenant import Admission, Tenant
from user_service.media import repository
from user_service.media.errors import MediaNotFound

DISCARD: Final = "media.discard"

_log = structlog.get_logger(__name__)


class Media:
    """The files of one tenant, as the caller `by` may see and change them."""

    def __init__(self, session: TenantSession, storage: TenantStorage, tenant: Tenant, by: Admission) -> None:
        self._session = session
        self._storage = storage
        self._tenant = tenant
        self._by = by

    async def page(self, asked: Page, owner_id: UUID | None) -> Sequence[MediaRow]:
        """Return the page's files, of one owner or of all, and one more where there is more."""
        return await repository.page(self._session, asked, owner_id)

    async def get(self, media_id: UUID) -> MediaRow:
        """Return the file; raise MediaNotFound, also for one of another tenant."""
        return _found(await repository.find(self._session, media_id))

    async def open(self, media_id: UUID) -> Download:
        """Return the file to be handed out; raise MediaNotFound."""
        return await download(self._storage, await self.get(media_id))

    async def link(self, media_id: UUID, signer: LinkSigner, lifetime: timedelta) -> tuple[str, datetime]:
        """Return the path of a link to the file that is good for `lifetime`, and until when that is."""
        row = await self.get(media_id)
        now = datetime.now(UTC).replace(microsecond=0)
        path = path_of(self._tenant.id, row.id)
        expires_at = now + lifetime
        told = {"expires_at": {"old": None, "new": expires_at.isoformat()}}
        record(self._session, self._by, "media.link_created", resource=f"media/{row.id}", changes=told)
        return signer.link("GET", path, self._tenant.id, now=now, lifetime=lifetime), expires_at

    async def remove(self, media_id: UUID, expected: Precondition) -> None:
        """Delete a file: one's own, or with `users:write` anybody's; its bytes go in the background."""
        row = _found(await repository.remove(self._session, media_id))
        principal = principal_of(self._by)
        if row.uploaded_by != principal.id:
            require_permission(principal, Permission.USERS_WRITE)
        expected.hold(version_of(row))
        await release_space(self._session, row.size, files=1)
        await enqueue(self._session, DISCARD, {"mediaId": str(row.id)}, tenant_id=self._tenant.id)
        changes = {"size": {"old": row.size, "new": None}}
        record(self._session, self._by, "media.deleted", resource=f"media/{row.id}", changes=changes)


def path_of(tenant_id: UUID, media_id: UUID) -> str:
    """Return the path at which a link hands the file out, which it signs."""
    return f"/api/v1/media/{tenant_id}/{media_id}/file"


def version_of(row: MediaRow) -> str:
    """Return what changes whenever the file is shown differently: its bytes never do, its owner may leave."""
    return row.sha256 if row.owner_id is not None else f"{row.sha256}-unowned"


async def download(storage: TenantStorage, row: MediaRow) -> Download:
    """Return the stored file as it is handed out; raise MediaNotFound where its object is gone."""
    try:
        stored = await storage.head(places.object_of(row.id))
    except ObjectNotFound as error:
        # It is deleted at this moment; else the store has lost it, which somebody has to know.
        _log.warning("media.object_missing", media=str(row.id))
        raise MediaNotFound from error
    return Download(
        filename=row.filename,
        content_type=served_as(row.content_type),
        size=stored.size,
        tag=row.sha256,
        pieces=lambda start, stop: storage.read(stored, start, stop),
        modified_at=row.created_at,
        sha256=row.sha256,
    )


def _found(row: MediaRow | None) -> MediaRow:
    if row is None:
        raise MediaNotFound
    return row
