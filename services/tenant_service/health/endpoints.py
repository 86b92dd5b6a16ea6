"""`GET /api/v1/tenants/{id}/health`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.access import Permission
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied, TenantConflict, TenantNotFound
from mis_tenancy.fastapi import requires
from tenant_service.health.schemas import HealthOut
from tenant_service.health.service import Health
from tenant_service.target import Target

router = APIRouter(prefix="/api/v1/tenants", tags=["health"], route_class=DirectRoute)


async def health_of(request: Request) -> Health:
    """Return what the service was composed with."""
    health: Health = request.app.state.health
    return health


@router.get(
    "/{id}/health",
    dependencies=[requires(Permission.USAGE_READ)],
    responses=problems(AuthenticationRequired, PermissionDenied, TenantNotFound, TenantConflict),
)
async def get_health(target: Target, health: Annotated[Health, Depends(health_of)]) -> HealthOut:
    """Show how well the platform works for this tenant, from a probe at most ten seconds old."""
    return HealthOut.of(await health.report(target.id))
