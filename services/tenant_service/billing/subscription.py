"""How a subscription stands, and what of it the rules ask for."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.billing import SubscriptionRow
from mis_tenancy.plans import PLANS, PlanName
from tenant_service.billing.amounts import Credit, Line, total_of
from tenant_service.billing.overage import Held, overage
from tenant_service.billing.periods import Period
from tenant_service.billing.proration import Stay
from tenant_service.plans.service import offer


class State(StrEnum):
    """The standing of a subscription: `trialing` is a contract without a price yet, and free."""

    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELED = "canceled"


def period_of(row: SubscriptionRow) -> Period:
    """Return the running period."""
    return Period(row.period_start, row.period_end)


def next_period(row: SubscriptionRow) -> Period:
    """Return the period after the running one."""
    return Period.of(row.anchor_at, row.period_number + 1)


def begin_period(row: SubscriptionRow, anchor: datetime, number: int) -> Period:
    """Let the period `number` after `anchor` run, and return it."""
    period = Period.of(anchor, number)
    row.anchor_at, row.period_number = anchor, number
    row.period_start, row.period_end = period.start, period.end
    return period


def stay_of(row: SubscriptionRow) -> Stay:
    """Return what the running period is paid for now."""
    return Stay(row.plan, row.price, row.overage)


def credits_of(row: SubscriptionRow) -> list[Credit]:
    """Return what coming invoices take off, oldest first."""
    return Credit.loaded(row.credits)


def standing(row: SubscriptionRow, *, is_overdue: bool) -> State:
    """Return the state of a subscription that has not ended."""
    if is_overdue:
        return State.PAST_DUE
    return State.TRIALING if row.price is None else State.ACTIVE


async def price_of(
    session: AsyncSession, plan: PlanName, contract_price: int | None, moment: datetime
) -> int | None:
    """Return what a month on `plan` costs that begins at `moment`; None for a contract without a price."""
    if plan is PlanName.CUSTOM:
        return contract_price
    return (await offer(session, PLANS[plan], moment)).monthly_price


def charges(plan: PlanName, price: int | None, period: Period, held: Held) -> list[Line]:
    """Return what a period costs: the plan, and what is held above its limits."""
    what = f"{named(plan)} plan, {period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}"
    if price is None:
        return [Line(f"{what}, free until its price is agreed", 0)]
    return [Line(what, price), *overage(PLANS[plan], price, held)]


def stay_for(plan: PlanName, price: int | None, held: Held) -> Stay:
    """Return a stay on the plan that begins with so much held."""
    return Stay(plan.value, price, total_of(overage(PLANS[plan], price, held)))


def named(plan: str) -> str:
    """Return the plan's name as a sentence begins with it."""
    return plan.capitalize()
