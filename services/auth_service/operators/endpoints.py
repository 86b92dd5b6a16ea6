"""HTTP of the operator routes."""

from fastapi import APIRouter

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import InvalidCredentials, LoginThrottled, MfaRequired
from auth_service.operators.dependencies import OperatorOnly
from auth_service.operators.schemas import OperatorLoginIn, OperatorLoginOut, VisitIn, VisitOut
from auth_service.operators.service import Operators
from auth_service.sessions.schemas import TenantOut
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import PermissionDenied, TenantNotFound

router = APIRouter(prefix="/api/v1/auth", tags=["operators"], route_class=DirectRoute)


@router.post("/operator/login", responses=problems(InvalidCredentials, MfaRequired, LoginThrottled))
async def operator_login(body: OperatorLoginIn, authority: AuthorityOf, caller: CallerOf) -> OperatorLoginOut:
    """Sign in as an operator of the platform."""
    return OperatorLoginOut.of(await Operators(authority, caller).sign_in(body.email, body.password))


@router.post("/act-as", responses=problems(PermissionDenied, TenantNotFound))
async def act_as(body: VisitIn, authority: AuthorityOf, by: OperatorOnly, caller: CallerOf) -> VisitOut:
    """Exchange an operator's token for one that acts in a tenant, which can see it."""
    tenant, access = await Operators(authority, caller).visit(by, body.tenant_id, body.reason)
    return VisitOut(token=access.text, expires_in=access.expires_in, tenant=TenantOut.of(tenant))
