"""HTTP of the import."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from mis_http.problems import problems
from mis_tenancy.errors import BodyMalformed, BodyTooLarge, PermissionDenied, UnsupportedMediaType
from mis_tenancy.fastapi import Admitted, CurrentTenant, Session
from user_service.imports.files import rows_of
from user_service.imports.schemas import ImportOut
from user_service.imports.service import Importer
from user_service.imports.uploads import received
from user_service.users.dependencies import CanWriteUsers

NDJSON: Final = "application/x-ndjson"
_FILE: Final = {"type": "string", "format": "binary"}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE}}
            },
            "text/csv": {"schema": _FILE, "example": "email,name,role\nada@example.com,Ada Lovelace,admin\n"},
            NDJSON: {"schema": _FILE},
        },
    }
}

# Imports are streamed and ignore Idempotency-Key: a repeated row meets the user it made.
router = APIRouter(prefix="/api/v1/users", tags=["users"])


async def importer_of_tenant(session: Session, tenant: CurrentTenant, by: Admitted) -> Importer:
    """Return the importer into the request's tenant."""
    return Importer(session, tenant, by)


TenantImporter = Annotated[Importer, Depends(importer_of_tenant)]


@router.post(
    "/import",
    response_model=ImportOut,
    responses=problems(PermissionDenied, BodyMalformed, BodyTooLarge, UnsupportedMediaType),
    openapi_extra=_BODY,
)
async def import_users(request: Request, importer: TenantImporter, by: CanWriteUsers) -> Response:
    """Create users from a CSV or NDJSON file of at most 10,000 rows; each row stands for itself.

    The answer is one document, or with `Accept: application/x-ndjson` a line for each row.
    """
    async with received(request) as upload:
        result = await importer.run(rows_of(upload.file, upload.written_in))
    if NDJSON in request.headers.get("accept", ""):
        return Response(result.as_ndjson(), media_type=NDJSON)
    return Response(result.as_json(), media_type="application/json")
