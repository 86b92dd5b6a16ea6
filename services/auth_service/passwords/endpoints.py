"""HTTP of the password routes."""

from fastapi import APIRouter

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import InvalidCredentials, LoginThrottled
from auth_service.passwords.schemas import PasswordChange, PasswordPolicyOut
from auth_service.passwords.service import OwnPassword
from mis_accounts.password_rules import PasswordPolicyUnmet
from mis_http.problems import problems
from mis_tenancy.errors import PermissionDenied, TenantNotFound, TenantRequired
from mis_tenancy.fastapi import Admitted, CurrentPrincipal, CurrentTenant

router = APIRouter(prefix="/api/v1/auth", tags=["passwords"])


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
