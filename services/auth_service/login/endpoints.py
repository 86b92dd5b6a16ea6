"""HTTP of the sign-in route."""

from fastapi import APIRouter

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import InvalidCredentials, LoginThrottled, MfaRequired, SsoRequired
from auth_service.login.schemas import LoginIn, LoginOut
from auth_service.login.service import Login
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import (
    TenantConflict,
    TenantMalformed,
    TenantPendingDeletion,
    TenantRequired,
    TenantSuspended,
)

router = APIRouter(prefix="/api/v1/auth", tags=["login"], route_class=DirectRoute)


@router.post(
    "/login",
    responses=problems(
        InvalidCredentials,
        MfaRequired,
        SsoRequired,
        LoginThrottled,
        TenantMalformed,
        TenantRequired,
        TenantConflict,
        TenantSuspended,
        TenantPendingDeletion,
    ),
)
async def login(body: LoginIn, authority: AuthorityOf, caller: CallerOf) -> LoginOut:
    """Sign in to the tenant that the body, or any other source, names."""
    done = await Login(authority, caller).sign_in(body.email, body.password, body.tenant_slug)
    return LoginOut.of(done)
