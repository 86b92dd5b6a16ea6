"""`/api/v1/tenants/{id}/import` and `…/imports`."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from mis_http.files.incoming import file_body
from mis_http.idempotency import IdempotentRoute, IdempotentUploadRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_tenancy.access import Permission
from mis_tenancy.errors import (
    ActAsRequired,
    AuthenticationRequired,
    BodyTooLarge,
    PermissionDenied,
    TenantNotFound,
    UnsupportedMediaType,
)
from mis_tenancy.fastapi import requires, tenancy_of
from mis_tenancy.slugs import parse_id
from tenant_service.imports.errors import (
    ArchiveBomb,
    ArchiveMalformed,
    ArchiveUnsafe,
    ChecksumMismatch,
    CountMismatch,
    ImportInProgress,
    ImportNotFound,
    ManifestInvalid,
    SchemaVersionUnsupported,
)
from tenant_service.imports.schemas import ImportOut, RehearsalOut
from tenant_service.imports.service import Imports, refuse_outsiders
from tenant_service.imports.uploads import Receiving, received
from tenant_service.sessions import TargetSession
from tenant_service.target import Target
from tenant_service.trail import Calling

_BODY: Final = file_body("application/zip")
_MEMBERS = [requires(Permission.USERS_WRITE), requires(Permission.TENANT_WRITE)]
_CLOSED = (AuthenticationRequired, PermissionDenied, TenantNotFound)
_ARCHIVE = (
    ArchiveMalformed,
    ArchiveBomb,
    ArchiveUnsafe,
    ManifestInvalid,
    SchemaVersionUnsupported,
    ChecksumMismatch,
    CountMismatch,
)

_REHEARSED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": RehearsalOut, "description": "What the import would do."}
}

router = APIRouter(prefix="/api/v1/tenants", tags=["imports"], route_class=IdempotentRoute)
uploads = APIRouter(prefix="/api/v1/tenants", tags=["imports"], route_class=IdempotentUploadRoute)


async def importing(request: Request, session: TargetSession, target: Target, caller: Calling) -> Imports:
    """Return the imports of the tenant the path names."""
    storage = request.app.state.storage.of(target.id)
    return Imports(session, tenancy_of(request).database, storage, caller)


async def import_of_path(import_id: Annotated[str, Path(description="The import's id.")]) -> UUID:
    """Return the id in the path; what is no id names no import."""
    found = parse_id(import_id)
    if found is None:
        raise ImportNotFound
    return found


Importing = Annotated[Imports, Depends(importing)]


@uploads.post(
    "/{id}/import",
    status_code=202,
    dependencies=_MEMBERS,
    responses=_REHEARSED
    | problems(*_CLOSED, ActAsRequired, *_ARCHIVE, ImportInProgress, BodyTooLarge, UnsupportedMediaType),
    openapi_extra=_BODY,
)
async def import_archive(
    imports: Importing,
    target: Target,
    caller: Calling,
    request: Request,
    response: Response,
    dry_run: Annotated[bool, Query(alias="dryRun", description="Tell what would happen, and stop.")] = False,
) -> ImportOut | RehearsalOut:
    """Bring an export back: verified at once, imported in the background in one transaction."""
    refuse_outsiders(caller)
    receiving: Receiving = request.app.state.receiving
    await imports.refuse_second()
    with receiving.alone(target.id):
        async with received(request) as file:
            if dry_run:
                response.status_code = 200
                return RehearsalOut.of(await imports.rehearse(file))
            row = await imports.start(file)
    response.headers["Location"] = f"/api/v1/tenants/{target.id}/imports/{row.id}"
    return ImportOut.of(row)


@router.get("/{id}/imports", dependencies=_MEMBERS, responses=problems(*_CLOSED))
async def list_imports(
    imports: Importing, page: Paged, request: Request, response: Response
) -> list[ImportOut]:
    """List the tenant's imports, newest first."""
    rows = await imports.page(page)
    return [ImportOut.of(row) for row in cut(rows, page, [row.id for row in rows], request, response)]


@router.get("/{id}/imports/{import_id}", dependencies=_MEMBERS, responses=problems(*_CLOSED, ImportNotFound))
async def get_import(import_id: Annotated[UUID, Depends(import_of_path)], imports: Importing) -> ImportOut:
    """Show how far an import is and, once it is completed, what it did."""
    return ImportOut.of(await imports.get(import_id))
