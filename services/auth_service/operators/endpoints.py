"""HTTP of the operator routes."""

from fastapi import APIRouter

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import InvalidCredentials, LoginThrottled
from auth_service.operators.dependencies import OperatorOnly
from auth_service.operators.schemas import OperatorLoginIn, OperatorLoginOut, VisitIn, VisitOut
from auth_service.operators.service import Operators
from auth_service.sessions.schemas import PersonOut, TenantOut, pair
from mis_http.problems import problems
from mis_tenancy.claims import OPERATOR
from mis_tenancy.errors import PermissionDenied, TenantNotFound

router = APIRouter(prefix="/api/v1/auth", tags=["operators"])


@router.post("/operator/login", responses=problems(InvalidCredentials, LoginThrottled))
async def operator_login(body: OperatorLoginIn, authority: AuthorityOf, caller: CallerOf) -> OperatorLoginOut:
    """Sign in as an operator of the platform."""
    done = await Operators(authority, caller).sign_in(body.email, body.password)
    person = done.operator
    user = PersonOut(id=person.id, email=person.email, name=person.name, role=OPERATOR)
    return OperatorLoginOut(**pair(done.access, done.refresh), user=user)


@router.post("/act-as", responses=problems(PermissionDenied, TenantNotFound))
async def act_as(body: VisitIn, authority: AuthorityOf, by: OperatorOnly, caller: CallerOf) -> VisitOut:
    """Exchange an operator's token for one that acts in a tenant, which can see it."""
    tenant, access = await Operators(authority, caller).visit(by, body.tenant_id, body.reason)
    return VisitOut(token=access.text, expires_in=access.expires_in, tenant=TenantOut.of(tenant))
