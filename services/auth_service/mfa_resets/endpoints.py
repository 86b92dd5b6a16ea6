"""HTTP of the route by which an operator begins a reset."""

from fastapi import APIRouter

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import MfaNotSet
from auth_service.mfa_resets.schemas import MfaResetIn, MfaResetOut
from auth_service.mfa_resets.service import OwnersFactors
from auth_service.operators.dependencies import OperatorOnly
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import PermissionDenied, TenantNotFound

router = APIRouter(prefix="/api/v1/auth/operator", tags=["operators"], route_class=DirectRoute)


@router.post("/mfa-resets", status_code=202, responses=problems(PermissionDenied, TenantNotFound, MfaNotSet))
async def begin_mfa_reset(
    body: MfaResetIn, authority: AuthorityOf, by: OperatorOnly, caller: CallerOf
) -> MfaResetOut:
    """Let an owner sign in without the second factor that they lost, a day from now."""
    takes_effect_at = await OwnersFactors(authority, by, caller).begin(
        body.tenant_id, body.email, body.reason
    )
    return MfaResetOut(tenant_id=body.tenant_id, takes_effect_at=takes_effect_at)
