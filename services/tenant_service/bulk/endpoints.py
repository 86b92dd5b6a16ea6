"""HTTP of the bulk."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_http.sessions import platform_of
from mis_http.streaming import NDJSON, LineByLine
from mis_tenancy.errors import (
    AuthenticationRequired,
    BodyMalformed,
    BodyTooLarge,
    PermissionDenied,
    UnsupportedMediaType,
)
from mis_tenancy.fastapi import tenancy_of
from tenant_service.bulk.operations import Means, Operations
from tenant_service.bulk.received import MOST_OPERATIONS, Received
from tenant_service.bulk.schemas import OutcomeOut
from tenant_service.bulk.service import Bulk
from tenant_service.target import OperatorOnly
from tenant_service.trail import Calling

# Bulks are streamed and ignore Idempotency-Key: each operation may have a key of its own.
router = APIRouter(prefix="/api/v1/tenants", tags=["bulk"], route_class=DirectRoute)

_OPERATION: Final = {
    "type": "object",
    "required": ["operation"],
    "properties": {"operation": {"enum": ["create", "suspend", "reactivate", "migrate", "delete"]}},
    "description": "Its other members are those of the single request, and `tenantId` and `key`.",
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            NDJSON: {"schema": _OPERATION},
            "application/json": {
                "schema": {"type": "array", "maxItems": MOST_OPERATIONS, "items": _OPERATION}
            },
        },
    }
}


async def bulk_of(request: Request, operator: OperatorOnly, caller: Calling) -> Bulk:
    """Return what carries out the request's operations."""
    tenancy = tenancy_of(request)
    means = Means(
        platform=platform_of(request),
        application=tenancy.database,
        directory=tenancy.directory,
        wrapping=tenancy.wrapping,
        passwords=request.app.state.passwords,
        platform_hosts=tenancy.settings.platform_hosts,
        public_url=tenancy.settings.issuer,
        downtime=request.app.state.downtime,
        settle=tenancy.settle,
    )
    return Bulk(
        Operations(means, caller),
        tenancy.wrapping,
        caller,
        request.scope["path"],
        lambda: tenancy.feed.is_revoked(operator),
    )


@router.post(
    "/bulk",
    status_code=200,
    response_class=LineByLine,
    responses={
        **problems(
            AuthenticationRequired, PermissionDenied, BodyMalformed, BodyTooLarge, UnsupportedMediaType
        ),
        200: {"model": OutcomeOut, "description": "A line for each operation, in their order."},
    },
    openapi_extra=_BODY,
)
async def carry_out(request: Request, bulk: Annotated[Bulk, Depends(bulk_of)]) -> Response:
    """Carry out up to 10,000 operations, each for itself, and answer each as soon as it is done."""
    received = Received()
    try:
        await received.receive(request)
    except BaseException:
        received.close()
        raise
    return LineByLine(_lines(bulk, received), received)


async def _lines(bulk: Bulk, received: Received) -> AsyncGenerator[bytes, None]:
    async for outcome in bulk.run(received.parts()):
        yield outcome.line()
