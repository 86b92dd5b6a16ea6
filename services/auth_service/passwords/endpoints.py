"""HTTP of the password routes."""

from fastapi import APIRouter, Response

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import InvalidCredentials, LinkInvalid, LoginThrottled
from auth_service.passwords.forgetting import Forgetting
from auth_service.passwords.resetting import Resetting
from auth_service.passwords.schemas import Forgotten, PasswordChange, PasswordPolicyOut, Reset
from auth_service.passwords.service import OwnPassword
from mis_accounts.password_rules import PasswordPolicyUnmet
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import (
    PermissionDenied,
    TenantConflict,
    TenantMalformed,
    TenantNotFound,
    TenantRequired,
)
from mis_tenancy.fastapi import Admitted, CurrentPrincipal, CurrentTenant

router = APIRouter(prefix="/api/v1/auth", tags=["passwords"], route_class=DirectRoute)


@router.get("/password-policy", responses=problems(TenantRequired, TenantNotFound))
async def read_password_policy(tenant: CurrentTenant) -> PasswordPolicyOut:
    """Return what the tenant asks of a password, for anybody who may have to choose one."""
    return PasswordPolicyOut.model_validate(tenant.configuration["security.password_policy"])


@router.post(
    "/password/change",
    status_code=204,
    responses=problems(InvalidCredentials, LoginThrottled, PermissionDenied, PasswordPolicyUnmet),
)
async def change_password(
    body: PasswordChange,
    authority: AuthorityOf,
    principal: CurrentPrincipal,
    admitted: Admitted,
    caller: CallerOf,
) -> None:
    """Change one's own password; every other session of the account ends."""
    own = OwnPassword(authority, principal, admitted.tenant, caller)
    await own.change(body.current_password, body.new_password)


@router.post(
    "/password/forgot", status_code=202, responses=problems(TenantMalformed, TenantRequired, TenantConflict)
)
async def forgot_password(body: Forgotten, authority: AuthorityOf, caller: CallerOf) -> Response:
    """Mail a link for a new password, if the address is a user's; the answer is the same if it is not."""
    await Forgetting(authority, caller).ask(body.email, body.tenant_slug)
    return Response(status_code=202)


@router.post(
    "/password/reset", status_code=204, responses=problems(LinkInvalid, LoginThrottled, PasswordPolicyUnmet)
)
async def reset_password(body: Reset, authority: AuthorityOf, caller: CallerOf) -> None:
    """Set a new password by a mailed link's token; every session of the account ends."""
    await Resetting(authority, caller).reset(body.token, body.new_password)
