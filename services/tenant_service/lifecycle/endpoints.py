"""`/api/v1/tenants`: tenants are made, listed, read, changed, closed and opened."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from mis_accounts.password_rules import PasswordPolicyUnmet
from mis_http.etags import IfMatch, PreconditionFailed, etag
from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_http.schemas import Text
from mis_tenancy.access import Permission
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied, TenantConflict, TenantNotFound
from mis_tenancy.fastapi import requires, tenancy_of
from mis_tenancy.plans import PlanName
from mis_tenancy.tenant import TenantStatus
from tenant_service.billing.errors import SubscriptionEnded
from tenant_service.domains.errors import DomainRefused, DomainTaken
from tenant_service.lifecycle import service
from tenant_service.lifecycle.amendment import Amending
from tenant_service.lifecycle.creation import Creation
from tenant_service.lifecycle.errors import (
    FeatureNotInPlan,
    LimitExceedsPlan,
    SlugReserved,
    SlugTaken,
    SubdomainTaken,
    TenantStateConflict,
    TooManyNames,
)
from tenant_service.lifecycle.filters import TenantFilter
from tenant_service.lifecycle.schemas import Suspension, TenantCreate, TenantListed, TenantOut, TenantPatch
from tenant_service.lifecycle.states import States
from tenant_service.sessions import CrossingSession, FoundingSession, GoverningSession, TargetSession
from tenant_service.target import Target
from tenant_service.trail import Calling

PATH = "/api/v1/tenants"

router = APIRouter(prefix=PATH, tags=["tenants"], route_class=IdempotentRoute)

_CLOSED = (AuthenticationRequired, PermissionDenied)
_ONE = (*_CLOSED, TenantNotFound, TenantConflict)
_RULES = (SlugReserved, DomainRefused, LimitExceedsPlan, FeatureNotInPlan)
_TAKEN = (SlugTaken, SubdomainTaken, DomainTaken)


async def creating(request: Request, session: FoundingSession, caller: Calling) -> Creation:
    """Return what makes a tenant."""
    tenancy = tenancy_of(request)
    return Creation(
        session,
        wrapping=tenancy.wrapping,
        passwords=request.app.state.passwords,
        platform_hosts=tenancy.settings.platform_hosts,
        caller=caller,
        public_url=tenancy.settings.issuer,
    )


async def amending(request: Request, session: TargetSession, caller: Calling) -> Amending:
    """Return what changes the tenant the path names."""
    return Amending(session, platform_hosts=tenancy_of(request).settings.platform_hosts, caller=caller)


async def moving(session: GoverningSession, target: Target, caller: Calling) -> States:
    """Return what moves the tenant the path names between states."""
    return States(session, target, caller)


async def asked_tenants(
    status: Annotated[TenantStatus | None, Query()] = None,
    plan: Annotated[PlanName | None, Query()] = None,
    q: Annotated[
        Text | None, Query(max_length=200, description="Beginnings of a name's words, a slug or a domain.")
    ] = None,
) -> TenantFilter:
    """Read the filters of the query."""
    return TenantFilter(status, plan, q)


Moving = Annotated[States, Depends(moving)]


@router.post("/create", status_code=201, responses=problems(*_CLOSED, *_RULES, *_TAKEN, PasswordPolicyUnmet))
@router.post("", status_code=201, responses=problems(*_CLOSED, *_RULES, *_TAKEN, PasswordPolicyUnmet))
async def create_tenant(
    body: TenantCreate, creation: Annotated[Creation, Depends(creating)], response: Response
) -> TenantOut:
    """Make a tenant on a plan, with its settings, data key and first owner; for operators."""
    document = await creation.create(body.value())
    response.headers["Location"] = f"{PATH}/{document.row.id}"
    response.headers["ETag"] = etag(document.row.version)
    return TenantOut.of(document)


@router.get("", responses=problems(*_CLOSED))
async def list_tenants(
    session: CrossingSession,
    asked: Annotated[TenantFilter, Depends(asked_tenants)],
    page: Paged,
    request: Request,
    response: Response,
) -> list[TenantListed]:
    """List tenants, newest first; for operators."""
    found = await service.list_tenants(session, asked, page, tenancy_of(request).directory.by_id)
    shown = cut(found, page, [one.row.id for one in found], request, response)
    return [TenantListed.listed(one.row, one.features) for one in shown]


@router.get("/{id}", responses=problems(*_ONE))
async def get_tenant(session: TargetSession, response: Response) -> TenantOut:
    """Show one tenant: their own to members, any to operators."""
    document = await service.read(session)
    response.headers["ETag"] = etag(document.row.version)
    return TenantOut.of(document)


@router.patch(
    "/{id}",
    dependencies=[requires(Permission.TENANT_WRITE)],
    responses=problems(*_ONE, *_RULES, *_TAKEN, TooManyNames, PreconditionFailed),
)
async def change_tenant(
    body: TenantPatch,
    amending: Annotated[Amending, Depends(amending)],
    if_match: IfMatch,
    response: Response,
) -> TenantOut:
    """Change a tenant; members may lower limits and features, operators may do all that the plan allows."""
    document = await amending.amend(body.value(), if_match.hold)
    response.headers["ETag"] = etag(document.row.version)
    return TenantOut.of(document)


@router.post("/{id}/suspend", responses=problems(*_ONE, TenantStateConflict))
async def suspend_tenant(body: Suspension, states: Moving, response: Response) -> TenantOut:
    """Close a tenant to its members within a second; for operators."""
    document = await states.suspend(body.reason)
    response.headers["ETag"] = etag(document.row.version)
    return TenantOut.of(document)


@router.post("/{id}/reactivate", responses=problems(*_ONE, TenantStateConflict, SubscriptionEnded))
async def reactivate_tenant(states: Moving, response: Response) -> TenantOut:
    """Open a suspended tenant again within a second; for operators."""
    document = await states.reactivate()
    response.headers["ETag"] = etag(document.row.version)
    return TenantOut.of(document)
