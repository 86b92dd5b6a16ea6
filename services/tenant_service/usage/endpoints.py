"""`GET /api/v1/tenants/{id}/usage` and `…/analytics`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime

from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_http.schemas import Text
from mis_tenancy.access import Permission
from mis_tenancy.errors import (
    ActAsRequired,
    AuthenticationRequired,
    FeatureNotAvailable,
    PermissionDenied,
    TenantNotFound,
)
from mis_tenancy.fastapi import Admitted, requires, tenancy_of, use_feature
from mis_tenancy.plans import Feature
from mis_tenancy.tenant import Tenant
from tenant_service.sessions import TargetReads
from tenant_service.target import Target
from tenant_service.trail import Calling
from tenant_service.usage import analytics as breakdown
from tenant_service.usage import service
from tenant_service.usage.analytics import By
from tenant_service.usage.ranges import DEFAULT, TimeRange, read_range
from tenant_service.usage.schemas import AnalyticsOut, UsageOut
from tenant_service.usage.series import encoded
from tenant_service.usage.tabulation import csv_of

router = APIRouter(prefix="/api/v1/tenants", tags=["usage"], route_class=DirectRoute)

CSV: Final = "text/csv"
_REFUSED: Final = (AuthenticationRequired, PermissionDenied, TenantNotFound)
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {200: {"model": AnalyticsOut, "content": {CSV: {}}}}


async def asked_range(
    time_range: Annotated[
        Text | None,
        Query(
            alias="timeRange", max_length=16, description=f"`24h`, `{DEFAULT}` (the default), `4w`, `12m`."
        ),
    ] = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="Not before this hour.")] = None,
    until: Annotated[
        AwareDatetime | None, Query(alias="to", description="Before the end of this hour.")
    ] = None,
) -> TimeRange:
    """Read the range of the query; raise ValidationFailed where there is none to read."""
    return read_range(time_range, since, until, datetime.now(UTC))


async def analysed(request: Request, target: Target) -> Tenant:
    """Return the tenant of the path, which must have the feature; the request counts as a use of it."""
    use_feature(request, target, Feature.ADVANCED_ANALYTICS)
    return target


Asked = Annotated[TimeRange, Depends(asked_range)]
Most = Annotated[int, Query(alias="limit", ge=1, le=1000, description="Routes and users shown at most.")]


@router.get(
    "/{id}/usage",
    dependencies=[requires(Permission.USAGE_READ)],
    response_model=UsageOut,
    responses=problems(*_REFUSED),
)
async def get_usage(target: Target, request: Request, asked: Asked, admitted: Admitted) -> Response:
    """Show what the tenant used: whole hours or days in UTC, the present one included."""
    now = datetime.now(UTC)
    reads = tenancy_of(request).reads
    summary, points = await service.usage(reads, target, asked, now, admitted.allowance)
    return Response(encoded(summary, points), media_type="application/json")


@router.get(
    "/{id}/analytics",
    dependencies=[requires(Permission.USAGE_READ)],
    response_model=AnalyticsOut,
    response_model_exclude_unset=True,
    responses=problems(*_REFUSED, FeatureNotAvailable, ActAsRequired) | _ANSWERS,
)
async def get_analytics(
    tenant: Annotated[Tenant, Depends(analysed)],
    reads: TargetReads,
    asked: Asked,
    caller: Calling,
    request: Request,
    by: Annotated[By | None, Query(description="One breakdown instead of all.")] = None,
    most: Most = 100,
) -> Any:
    """Break the tenant's requests down by route, user, hour, status and feature, as JSON or as CSV."""
    shown = breakdown.chosen(by, caller)
    now = datetime.now(UTC)
    found = await reads.run(
        lambda session: breakdown.analytics(session, tenant, asked, now, by=shown, most=most)
    )
    if CSV not in request.headers.get("accept", ""):
        return found
    named = f'attachment; filename="analytics-{tenant.slug}.csv"'
    return Response(csv_of(found), media_type=CSV, headers={"Content-Disposition": named})
