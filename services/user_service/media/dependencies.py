"""What the media routes are handed: the caller's permission, the tenant's files, what the path names."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from mis_http.files.incoming import IncomingFile, incoming_file
from mis_http.files.signed_links import linked
from mis_http.patience import Patience
from mis_tenancy.access import Permission
from mis_tenancy.fastapi import Admitted, CurrentTenant, Session, requires, tenancy_of
from mis_tenancy.slugs import parse_id
from mis_tenancy.storage import Storage
from mis_tenancy.tenant import Principal
from user_service.media.errors import MediaNotFound
from user_service.media.service import Media
from user_service.media.uploads import Uploads

CanReadMedia = Annotated[Principal, requires(Permission.MEDIA_READ)]
CanWriteMedia = Annotated[Principal, requires(Permission.MEDIA_WRITE)]


async def media_of_tenant(request: Request, session: Session, tenant: CurrentTenant, by: Admitted) -> Media:
    """Return the files of the request's tenant."""
    storage: Storage = request.app.state.storage
    return Media(session, storage.of(tenant.id), tenant, by)


async def uploads_of_tenant(
    request: Request, session: Session, tenant: CurrentTenant, by: Admitted, sender: CanWriteMedia
) -> Uploads:
    """Return what takes files into the request's tenant."""
    tenancy, state = tenancy_of(request), request.app.state
    return Uploads(
        session,
        tenancy.database,
        state.storage.of(tenant.id),
        tenant,
        by,
        lambda: tenancy.feed.is_revoked(sender),
        state.upload_memory,
    )


async def file_of_request(request: Request) -> IncomingFile:
    """Return the file that the request sends."""
    patience: Patience = request.app.state.patience
    return await incoming_file(request, patience)


async def media_of_path(media_id: Annotated[str, Path(description="The file's id.")]) -> UUID:
    """Return the id in the path; what is no id names no file."""
    found = parse_id(media_id)
    if found is None:
        raise MediaNotFound
    return found


TenantMedia = Annotated[Media, Depends(media_of_tenant)]
TenantUploads = Annotated[Uploads, Depends(uploads_of_tenant)]
Incoming = Annotated[IncomingFile, Depends(file_of_request)]
MediaId = Annotated[UUID, Depends(media_of_path)]
FileOfLink = Annotated[tuple[UUID, UUID], linked("media_id", "file")]
