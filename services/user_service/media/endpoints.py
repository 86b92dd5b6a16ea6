"""HTTP of the media routes."""

from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from mis_accounts.claims import LimitExceeded
from mis_http.etags import IfMatch, PreconditionFailed, etag
from mis_http.files.content_digest import ContentDigestMismatch
from mis_http.files.downloads import AskedDownload, RangeNotSatisfiable, handed_out
from mis_http.files.file_names import UNKNOWN
from mis_http.files.incoming import FILE, file_body
from mis_http.files.signed_links import LinkRefused, Signed
from mis_http.idempotency import IdempotentRoute, IdempotentUploadRoute
from mis_http.pages import Paged, cut
from mis_http.patience import UploadTooSlow
from mis_http.problems import problems
from mis_tenancy.errors import BodyMalformed, PermissionDenied, UnsupportedMediaType
from mis_tenancy.fastapi import Admitted, tenancy_of
from mis_tenancy.storage import StorageUnavailable
from user_service.media.dependencies import (
    CanReadMedia,
    CanWriteMedia,
    FileOfLink,
    Incoming,
    MediaId,
    TenantMedia,
    TenantUploads,
)
from user_service.media.errors import FileTooLarge, FileTypeRefused, LengthRequired, MediaNotFound
from user_service.media.fetching import Fetching
from user_service.media.memory import UploadsBusy
from user_service.media.schemas import LinkIn, LinkOut, MediaOut
from user_service.media.service import version_of

_BODY: Final = file_body(UNKNOWN) | {
    "parameters": [
        {
            "name": "filename",
            "in": "query",
            "required": False,
            "schema": {"type": "string", "maxLength": 255},
            "description": "What the file is called, where it is sent raw.",
        }
    ],
}
_CONTENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {UNKNOWN: {"schema": FILE}}, "description": "The file."},
    206: {"content": {UNKNOWN: {"schema": FILE}}, "description": "A range of it."},
    304: {"description": "The caller has it already."},
}

router = APIRouter(prefix="/api/v1/media", tags=["media"], route_class=IdempotentRoute)
uploads = APIRouter(prefix="/api/v1/media", tags=["media"], route_class=IdempotentUploadRoute)


@uploads.post(
    "",
    status_code=201,
    responses=problems(
        PermissionDenied,
        FileTooLarge,
        FileTypeRefused,
        LengthRequired,
        LimitExceeded,
        UploadTooSlow,
        UploadsBusy,
        BodyMalformed,
        ContentDigestMismatch,
        UnsupportedMediaType,
        StorageUnavailable,
    ),
    openapi_extra=_BODY,
)
async def upload(received: TenantUploads, file: Incoming, response: Response) -> MediaOut:
    """Store a file, sent raw with its `Content-Type` and `?filename=`, or as the part `file` of a form."""
    row = await received.receive(file)
    response.headers["Location"] = f"/api/v1/media/{row.id}"
    response.headers["ETag"] = etag(version_of(row))
    return MediaOut.of(row)


@router.get("", responses=problems(PermissionDenied))
async def list_media(
    by: CanReadMedia,
    media: TenantMedia,
    page: Paged,
    request: Request,
    response: Response,
    owner_id: Annotated[UUID | None, Query(alias="ownerId", description="Only this user's.")] = None,
) -> list[MediaOut]:
    """List the tenant's files, newest first."""
    rows = await media.page(page, owner_id)
    return [MediaOut.of(row) for row in cut(rows, page, [row.id for row in rows], request, response)]


@router.get("/{media_id}", responses=problems(PermissionDenied, MediaNotFound))
async def read_media(by: CanReadMedia, media: TenantMedia, media_id: MediaId, response: Response) -> MediaOut:
    """Return what is known of a file."""
    row = await media.get(media_id)
    response.headers["ETag"] = etag(version_of(row))
    return MediaOut.of(row)


@router.get(
    "/{media_id}/content",
    response_class=StreamingResponse,
    responses=_CONTENT | problems(PermissionDenied, MediaNotFound, RangeNotSatisfiable, StorageUnavailable),
)
async def read_content(
    by: CanReadMedia, media: TenantMedia, media_id: MediaId, asked: AskedDownload
) -> Response:
    """Hand out a file, whole or a range of it."""
    return handed_out(await media.open(media_id), asked)


@router.post("/{media_id}/link", status_code=201, responses=problems(PermissionDenied, MediaNotFound))
async def create_link(
    by: CanReadMedia, media: TenantMedia, media_id: MediaId, request: Request, body: LinkIn | None = None
) -> LinkOut:
    """Make a link to a file that needs no token, good for ten minutes or for as long as is asked."""
    lifetime = timedelta(seconds=(body or LinkIn()).expires_in)
    path, expires_at = await media.link(media_id, request.app.state.links, lifetime)
    return LinkOut(url=tenancy_of(request).settings.issuer + path, expires_at=expires_at)


@router.get(
    "/{id}/{media_id}/file",
    response_class=StreamingResponse,
    responses=_CONTENT | problems(LinkRefused, RangeNotSatisfiable, StorageUnavailable),
)
async def fetch_media(
    ids: FileOfLink, sent: Signed, asked: AskedDownload, request: Request, admitted: Admitted
) -> Response:
    """Hand out a file to who has a good link."""
    fetching: Fetching = request.app.state.fetching
    file = await fetching.open(*ids, sent, ip=admitted.client_address, request_id=admitted.request_id)
    return handed_out(file, asked)


@router.delete(
    "/{media_id}", status_code=204, responses=problems(PermissionDenied, MediaNotFound, PreconditionFailed)
)
async def delete_media(by: CanWriteMedia, media: TenantMedia, media_id: MediaId, if_match: IfMatch) -> None:
    """Delete a file: one's own, or with `users:write` anybody's."""
    await media.remove(media_id, if_match)
