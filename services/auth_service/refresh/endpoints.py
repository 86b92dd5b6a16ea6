"""HTTP of the refresh route."""

from fastapi import APIRouter

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import RefreshSuperseded
from auth_service.refresh.schemas import RefreshIn, RefreshOut
from auth_service.refresh.service import Refresh
from auth_service.sessions.schemas import TenantOut, pair
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import (
    TenantPendingDeletion,
    TenantSuspended,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
)

router = APIRouter(prefix="/api/v1/auth", tags=["sessions"], route_class=DirectRoute)


@router.post(
    "/refresh",
    responses=problems(
        TokenInvalid, TokenExpired, TokenRevoked, RefreshSuperseded, TenantSuspended, TenantPendingDeletion
    ),
)
async def refresh(body: RefreshIn, authority: AuthorityOf, caller: CallerOf) -> RefreshOut:
    """Exchange a refresh token for a fresh pair."""
    done = await Refresh(authority, caller).exchange(body.refresh_token)
    tenant = None if done.tenant is None else TenantOut.of(done.tenant)
    return RefreshOut(**pair(done.access, done.refresh), tenant=tenant)
