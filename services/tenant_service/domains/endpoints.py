"""`/api/v1/tenants/{id}/domain`, and the question of gateways whether a host is served."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from mis_http.etags import etag
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.access import Permission
from mis_tenancy.errors import (
    AuthenticationRequired,
    PermissionDenied,
    TenantConflict,
    TenantNotFound,
    TenantUnavailable,
)
from mis_tenancy.fastapi import requires, tenancy_of
from tenant_service.domains import asking, service
from tenant_service.domains.errors import (
    DomainLookupFailed,
    DomainMissing,
    DomainTaken,
    DomainUnknown,
    DomainUnproven,
)
from tenant_service.domains.schemas import DomainOut, HostOut
from tenant_service.domains.service import Proving
from tenant_service.sessions import TargetSession
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants", tags=["domains"], route_class=DirectRoute)

_ONE = (AuthenticationRequired, PermissionDenied, TenantNotFound, TenantConflict)
_UNPROVEN = (DomainMissing, DomainUnproven, DomainLookupFailed, DomainTaken)


async def proving(request: Request, session: TargetSession, caller: Calling) -> Proving:
    """Return what proves the domain of the tenant the path names."""
    return Proving(session, tenancy_of(request).database, request.app.state.proofs, caller)


@router.get("/domains/ask", responses=problems(DomainUnknown, TenantUnavailable))
async def ask(
    request: Request,
    domain: Annotated[str, Query(min_length=1, max_length=300, description="The host asked about.")],
) -> HostOut:
    """Say whether a tenant is served at a host; for a gateway that is about to obtain a certificate."""
    return HostOut(domain=await asking.ask(tenancy_of(request), domain))


@router.get("/{id}/domain", dependencies=[requires(Permission.TENANT_WRITE)], responses=problems(*_ONE))
async def get_domain(session: TargetSession) -> DomainOut:
    """Show the tenant's domain and the DNS record that proves it."""
    return DomainOut.of(await service.read(session))


@router.post(
    "/{id}/domain/verify",
    dependencies=[requires(Permission.TENANT_WRITE)],
    responses=problems(*_ONE, *_UNPROVEN),
)
async def verify_domain(proving: Annotated[Proving, Depends(proving)], response: Response) -> DomainOut:
    """Look for the record in DNS and let the domain resolve from now on."""
    state = await proving.prove()
    response.headers["ETag"] = etag(state.row.version)
    return DomainOut.of(state)
