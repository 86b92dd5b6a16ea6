"""What each plan offers and costs: the table of plans is code, its prices are data with a beginning."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from mis_tenancy.errors import ProblemError
from mis_tenancy.plans import PLANS, Plan, PlanName
from tenant_service.errors import FieldRefused
from tenant_service.plans import repository
from tenant_service.trail import Caller


class PlanNotFound(ProblemError):
    """There is no plan of that name."""

    status = 404
    code = "plan_not_found"
    detail = "There is no such plan. GET /api/v1/plans lists them."


class PriceByContract(FieldRefused):
    """The plan has no list price."""

    code = "price_by_contract"
    detail = "The custom plan has no list price; each contract sets its own."


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan at its price of now, in US cents."""

    plan: Plan
    monthly_price: int | None


def plan_named(name: str) -> Plan:
    """Return the plan; raise PlanNotFound."""
    try:
        return PLANS[PlanName(name)]
    except ValueError as error:
        raise PlanNotFound from error


async def offers(session: AsyncSession, now: datetime) -> list[Offer]:
    """Return every plan at its price of `now`, from the smallest to the negotiated one."""
    prices = await repository.prices_at(session, now)
    return [Offer(plan, prices.get(plan.name, plan.monthly_price)) for plan in PLANS.values()]


async def offer(session: AsyncSession, plan: Plan, now: datetime) -> Offer:
    """Return one plan at its price of `now`."""
    prices = await repository.prices_at(session, now)
    return Offer(plan, prices.get(plan.name, plan.monthly_price))


async def reprice(
    session: AsyncSession, plan: Plan, price: int, by: Caller, now: datetime, hold: Callable[[str], None]
) -> Offer:
    """Set the plan's price for periods that start from `now` on; running ones keep theirs.

    `hold` raises where the caller expected another price. Raise PriceByContract where there is no list price.
    """
    if plan.monthly_price is None:
        raise PriceByContract("monthlyPrice")
    await repository.lock_prices(session)
    before = await offer(session, plan, now)
    hold(version_of(before))
    repository.add_price(session, plan.name, price, now)
    by.record_on_platform(
        session,
        "plan.repriced",
        resource=f"plans/{plan.name.value}",
        changes={"monthly_price": {"old": before.monthly_price, "new": price}},
    )
    return Offer(plan, price)


def version_of(offer: Offer) -> str:
    """Return what changes with the offer: its price, as all else of a plan is fixed."""
    return f"{offer.plan.name.value}-{offer.monthly_price}"
