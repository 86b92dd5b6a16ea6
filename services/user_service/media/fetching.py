"""Hands a file out to who comes with a good link, which was signed for it and is the whole proof.

What the link opens is judged again when it is used: the file must still be there, and the tenant active.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

from mis_http.files.downloads import Download
from mis_http.files.signed_links import LinkRefused, LinkSigner, SignedQuery
from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.storage import Storage
from mis_tenancy.tenant import Tenant, TenantStatus
from user_service.media import repository
from user_service.media.errors import MediaNotFound
from user_service.media.service import download, path_of

FindTenant = Callable[[UUID], Awaitable[Tenant | None]]


class Fetching:
    """Opens files by links that `links` has signed; `find_tenant` is the directory's."""

    def __init__(
        self, database: Database, storage: Storage, find_tenant: FindTenant, links: LinkSigner
    ) -> None:
        self._database = database
        self._storage = storage
        self._find_tenant = find_tenant
        self._links = links

    async def open(
        self, tenant_id: UUID, media_id: UUID, sent: SignedQuery, *, ip: str, request_id: str
    ) -> Download:
        """Return the file and leave a trace of it; raise LinkRefused for whatever the link does not open."""
        path = path_of(tenant_id, media_id)
        self._links.check("GET", path, tenant_id, sent, now=datetime.now(UTC))
        tenant = await self._find_tenant(tenant_id)
        if tenant is None or tenant.status is not TenantStatus.ACTIVE:
            raise LinkRefused
        async with self._database.transaction(tenant_id) as session:
            row = await repository.find(session, media_id)
            if row is None:
                raise LinkRefused
            record_change(
                session,
                action="media.downloaded",
                actor=None,
                actor_kind="link",
                resource=f"media/{media_id}",
                ip=ip,
                request_id=request_id,
            )
        try:
            return await download(self._storage.of(tenant_id), row)
        except MediaNotFound as error:
            raise LinkRefused from error
