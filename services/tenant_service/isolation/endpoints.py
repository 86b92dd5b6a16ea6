"""`POST /api/v1/tenants/{id}/isolation/verify`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.access import Permission
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied, TenantConflict, TenantNotFound
from mis_tenancy.fastapi import requires
from tenant_service.isolation.schemas import VerificationOut
from tenant_service.isolation.service import Verification, VerificationIncomplete
from tenant_service.target import Target
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants", tags=["isolation"], route_class=DirectRoute)


async def verification_of(request: Request) -> Verification:
    """Return what the service was composed with."""
    verification: Verification = request.app.state.verification
    return verification


@router.post(
    "/{id}/isolation/verify",
    dependencies=[requires(Permission.AUDIT_READ)],
    responses=problems(
        AuthenticationRequired, PermissionDenied, TenantNotFound, TenantConflict, VerificationIncomplete
    ),
)
async def verify_isolation(
    target: Target, verification: Annotated[Verification, Depends(verification_of)], caller: Calling
) -> VerificationOut:
    """Ask the running database, Redis and storage whether the tenant is isolated from all others."""
    return VerificationOut.of(await verification.verify(target.id, caller))
