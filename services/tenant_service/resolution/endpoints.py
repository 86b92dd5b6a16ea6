"""`GET /api/v1/tenants/resolve`: the refusals of the very request that asks, reported as a 200."""

from fastapi import APIRouter, Request

from mis_http.direct_route import DirectRoute
from mis_tenancy.fastapi import tenancy_of
from mis_tenancy.gate import Gate
from tenant_service.resolution.schemas import ResolutionOut

router = APIRouter(prefix="/api/v1/tenants", tags=["resolution"], route_class=DirectRoute)


@router.get("/resolve")
async def resolve(request: Request) -> ResolutionOut:
    """Tell which tenant sources this request carries and what a tenant route would make of them."""
    tenancy = tenancy_of(request)
    gate = Gate(
        resolver=tenancy.resolver,
        directory=tenancy.directory,
        feed=tenancy.feed,
        verifier=tenancy.verifier,
    )
    return ResolutionOut.model_validate(await gate.explain(request.scope), by_alias=True)
