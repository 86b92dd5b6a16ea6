"""How periods begin: each is billed for what its tenant has then, the first one with its subscription."""

from datetime import datetime

from mis_models.billing import InvoiceRow, SubscriptionRow
from mis_tenancy.plans import PlanName
from mis_tenancy.session import TenantSession
from tenant_service.billing import repository
from tenant_service.billing.covers import Cover, kept_for_the_next
from tenant_service.billing.issuing import Kind, issue
from tenant_service.billing.overage import Held
from tenant_service.billing.subscription import (
    begin_period,
    charges,
    period_of,
    price_of,
    standing,
    stay_for,
)


def open_subscription(
    session: TenantSession, plan: PlanName, price: int | None, now: datetime, held: Held | None = None
) -> tuple[SubscriptionRow, InvoiceRow]:
    """Add the subscription of the session's tenant, whose first period begins `now`, and its first invoice.

    `price` is what a month on `plan` costs, None where a contract is to say it; `held` is what a tenant
    that is not new holds.
    """
    subscription = SubscriptionRow(
        plan=plan.value,
        price=price,
        cancel_at_period_end=False,
        credits=[],
        covers=[],
        next_invoice=1,
        version=0,
    )
    subscription.state = standing(subscription, is_overdue=False).value
    begin_period(subscription, now, 0)
    session.add(subscription)
    return subscription, bill_period(session, subscription, price, held or Held(0, 0), now)


async def open_period(
    session: TenantSession, subscription: SubscriptionRow, anchor: datetime, number: int, now: datetime
) -> None:
    """Let the period `number` after `anchor` run at the price of its beginning, and bill it."""
    period = begin_period(subscription, anchor, number)
    plan = PlanName(subscription.plan)
    price = await price_of(session, plan, subscription.contract_price, period.start)
    bill_period(session, subscription, price, await repository.held(session), now)


def bill_period(
    session: TenantSession, subscription: SubscriptionRow, price: int | None, held: Held, now: datetime
) -> InvoiceRow:
    """Bill the running period at `price` for a tenant that holds so much, and return the invoice."""
    plan, period = PlanName(subscription.plan), period_of(subscription)
    stay = stay_for(plan, price, held)
    subscription.price, subscription.overage = stay.price, stay.overage
    invoice = issue(session, subscription, Kind.PERIOD, period, charges(plan, price, period, held), now)
    covers = *kept_for_the_next(Cover.loaded(subscription.covers)), Cover.by(invoice, stay.rate, stay.rate)
    subscription.covers = [cover.stored() for cover in covers]
    return invoice
