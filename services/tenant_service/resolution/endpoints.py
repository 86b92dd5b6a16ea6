"""`GET /api/v1/tenants/resolve`: the refusals of the very request that asks, reported as a 200."""

from fastapi import APIRouter, Request

from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.fastapi import tenancy_of
from tenant_service.resolution.schemas import ResolutionOut

router = APIRouter(prefix="/api/v1/tenants", tags=["resolution"], route_class=DirectRoute)


@router.get("/resolve")
async def resolve(request: Request) -> ResolutionOut:
    """Tell which tenant sources this request carries and what a tenant route would make of them."""
    explained = await tenancy_of(request).gate.explain(request.scope)
    return ResolutionOut.model_validate(explained, by_alias=True)
