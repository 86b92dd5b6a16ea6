"""HTTP of the import."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from mis_accounts.claims import LimitExceeded
from mis_http.files.incoming import file_body
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_http.streaming import NDJSON, LineByLine
from mis_tenancy.errors import BodyMalformed, BodyTooLarge, PermissionDenied, UnsupportedMediaType
from mis_tenancy.fastapi import Admitted, CurrentTenant, tenancy_of
from user_service.imports import answers
from user_service.imports.errors import ImportRefused
from user_service.imports.files import examine, rows_of
from user_service.imports.schemas import ImportOut
from user_service.imports.service import Importer
from user_service.imports.uploads import Upload, received
from user_service.users.dependencies import CanWriteUsers

_BODY: Final = file_body("text/csv", NDJSON, sample="email,name,role\nada@example.com,Ada Lovelace,admin\n")

# Imports are streamed and ignore Idempotency-Key: a repeated row meets the user it made.
router = APIRouter(prefix="/api/v1/users", tags=["users"], route_class=DirectRoute)


async def importer_of_tenant(
    request: Request, tenant: CurrentTenant, by: Admitted, may: CanWriteUsers
) -> Importer:
    """Return the importer into the request's tenant."""
    tenancy = tenancy_of(request)
    return Importer(tenancy.database, tenant, by, lambda: tenancy.feed.is_revoked(may))


TenantImporter = Annotated[Importer, Depends(importer_of_tenant)]


@router.post(
    "/import",
    response_model=ImportOut,
    responses=problems(
        PermissionDenied, BodyMalformed, BodyTooLarge, UnsupportedMediaType, ImportRefused, LimitExceeded
    ),
    openapi_extra=_BODY,
)
async def import_users(
    request: Request,
    importer: TenantImporter,
    atomic: Annotated[bool, Query(description="All rows go in, or none.")] = False,
    resume_from: Annotated[
        int, Query(alias="resumeFrom", ge=1, description="The first row to import; those before are skipped.")
    ] = 1,
) -> Response:
    """Create users from a CSV or NDJSON file of at most a million rows, each for itself.

    The answer arrives while rows go in: one document, or with `Accept: application/x-ndjson` a line for each.
    """
    upload = await received(request, request.app.state.patience)
    try:
        await asyncio.to_thread(examine, upload.file, upload.written_in)
        batches = await _batches(importer, upload, resume_from, atomic=atomic)
    except BaseException:
        upload.close()
        raise
    if NDJSON in request.headers.get("accept", ""):
        return LineByLine(answers.lines(batches), upload)
    return LineByLine(answers.document(batches), upload, media_type="application/json")


async def _batches(importer: Importer, upload: Upload, first: int, *, atomic: bool) -> answers.Batches:
    rows = (row for row in rows_of(upload.file, upload.written_in) if row.number >= first)
    if not atomic:
        return importer.each_for_itself(rows)
    return answers.of((await importer.all_or_nothing(rows)).results())
