"""`/api/v1/tenants/{id}/export` and `…/exports`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.responses import RedirectResponse, StreamingResponse

from mis_http.etags import IfMatch, PreconditionFailed, etag
from mis_http.files.downloads import AskedDownload, RangeNotSatisfiable, handed_out
from mis_http.files.signed_links import LinkRefused, Signed, linked
from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_tenancy.access import Permission
from mis_tenancy.errors import ActAsRequired, AuthenticationRequired, PermissionDenied, TenantNotFound
from mis_tenancy.fastapi import Admitted, requires, tenancy_of
from mis_tenancy.slugs import parse_id
from tenant_service.exports.errors import ExportInProgress, ExportNotFound
from tenant_service.exports.fetching import Fetching, Links
from tenant_service.exports.schemas import ExportIn, ExportOut
from tenant_service.exports.service import Exports, version_of
from tenant_service.sessions import TargetSession
from tenant_service.target import Target
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants", tags=["exports"], route_class=IdempotentRoute)

_MEMBERS = [requires(Permission.EXPORTS_WRITE)]
_CLOSED = (AuthenticationRequired, PermissionDenied, TenantNotFound)


async def exporting(session: TargetSession, caller: Calling) -> Exports:
    """Return the exports of the tenant the path names."""
    return Exports(session, caller)


async def linking(request: Request, caller: Calling) -> Links:
    """Return what makes the caller's links."""
    return Links(request.app.state.links, tenancy_of(request).settings.issuer, caller)


async def export_of_path(export_id: Annotated[str, Path(description="The export's id.")]) -> UUID:
    """Return the id in the path; what is no id names no export."""
    found = parse_id(export_id)
    if found is None:
        raise ExportNotFound
    return found


Exporting = Annotated[Exports, Depends(exporting)]
Linking = Annotated[Links, Depends(linking)]
ExportId = Annotated[UUID, Depends(export_of_path)]
FileOfLink = Annotated[tuple[UUID, UUID], linked("export_id", "export")]


@router.post(
    "/{id}/export", status_code=202, dependencies=_MEMBERS, responses=problems(*_CLOSED, ExportInProgress)
)
async def start_export(body: ExportIn, exports: Exporting, target: Target, response: Response) -> ExportOut:
    """Write the tenant's data into an archive in the background; one export at a time."""
    row = await exports.start(body.data_types, body.format)
    response.headers["Location"] = f"/api/v1/tenants/{target.id}/exports/{row.id}"
    return ExportOut.of(row, None)


@router.get("/{id}/exports", dependencies=_MEMBERS, responses=problems(*_CLOSED))
async def list_exports(
    exports: Exporting, links: Linking, page: Paged, request: Request, response: Response
) -> list[ExportOut]:
    """List the tenant's exports, newest first."""
    rows = await exports.page(page)
    shown = cut(rows, page, [row.id for row in rows], request, response)
    return [ExportOut.of(row, links.shown(row)) for row in shown]


@router.get("/{id}/exports/{export_id}", dependencies=_MEMBERS, responses=problems(*_CLOSED, ExportNotFound))
async def get_export(
    export_id: ExportId, exports: Exporting, links: Linking, response: Response
) -> ExportOut:
    """Show how far an export is and, once it is complete, the link to its file."""
    row = await exports.get(export_id)
    response.headers["ETag"] = etag(version_of(row))
    return ExportOut.of(row, links.shown(row))


@router.delete(
    "/{id}/exports/{export_id}",
    status_code=204,
    dependencies=_MEMBERS,
    responses=problems(*_CLOSED, ExportNotFound, PreconditionFailed),
)
async def remove_export(export_id: ExportId, exports: Exporting, if_match: IfMatch) -> None:
    """Cancel an export that has not ended, or delete the file of one that is complete."""
    await exports.remove(export_id, if_match.hold)


@router.get(
    "/{id}/exports/{export_id}/download",
    status_code=302,
    response_class=RedirectResponse,
    dependencies=_MEMBERS,
    responses=problems(*_CLOSED, ActAsRequired, ExportNotFound),
)
async def download_export(export_id: ExportId, exports: Exporting, links: Linking) -> RedirectResponse:
    """Lead to the file, by a link that is good for ten minutes and needs no token."""
    return RedirectResponse(links.redirect(await exports.get(export_id)), 302)


@router.get(
    "/{id}/exports/{export_id}/file",
    response_class=StreamingResponse,
    responses=problems(LinkRefused, RangeNotSatisfiable),
)
async def fetch_export(
    ids: FileOfLink,
    sent: Signed,
    request: Request,
    admitted: Admitted,
    asked: AskedDownload,
) -> Response:
    """Hand out the file of an export to who has a good link, whole or a range of it."""
    fetching: Fetching = request.app.state.fetching
    file = await fetching.open(*ids, sent, ip=admitted.client_address, request_id=admitted.request_id)
    return handed_out(file, asked)
