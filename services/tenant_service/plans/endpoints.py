"""`/api/v1/plans`: open to read, an operator's to change."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from mis_http.etags import IfMatch, PreconditionFailed, etag
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied
from mis_tenancy.plans import Plan
from tenant_service.plans import service
from tenant_service.plans.schemas import PlanOut, PlanPatch
from tenant_service.plans.service import PlanNotFound, PriceByContract, plan_named
from tenant_service.sessions import CrossingSession, PublicSession
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/plans", tags=["plans"], route_class=DirectRoute)


async def named_plan(name: Annotated[str, Path(alias="plan", max_length=64)]) -> Plan:
    """Return the plan the path names."""
    return plan_named(name)


NamedPlan = Annotated[Plan, Depends(named_plan)]


@router.get("")
async def list_plans(session: PublicSession) -> list[PlanOut]:
    """List the plans at today's prices, from the smallest to the negotiated one."""
    return [PlanOut.of(offer) for offer in await service.offers(session, datetime.now(UTC))]


@router.get("/{plan}", responses=problems(PlanNotFound))
async def get_plan(plan: NamedPlan, session: PublicSession, response: Response) -> PlanOut:
    """Show one plan at today's price."""
    offer = await service.offer(session, plan, datetime.now(UTC))
    response.headers["ETag"] = etag(service.version_of(offer))
    return PlanOut.of(offer)


@router.patch(
    "/{plan}",
    responses=problems(
        AuthenticationRequired, PermissionDenied, PlanNotFound, PreconditionFailed, PriceByContract
    ),
)
async def reprice_plan(
    body: PlanPatch,
    session: CrossingSession,
    plan: NamedPlan,
    caller: Calling,
    if_match: IfMatch,
    response: Response,
) -> PlanOut:
    """Change a plan's monthly price for periods that start later; for operators."""
    offer = await service.reprice(session, plan, body.monthly_price, caller, datetime.now(UTC), if_match.hold)
    response.headers["ETag"] = etag(service.version_of(offer))
    return PlanOut.of(offer)
