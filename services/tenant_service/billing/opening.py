"""The first period of a tenant, and its invoice: rows only, for the transaction that makes the tenant."""

from datetime import datetime

from mis_models.billing import InvoiceRow, SubscriptionRow
from mis_tenancy.plans import PlanName
from mis_tenancy.session import TenantSession
from tenant_service.billing.issuing import Kind, issue
from tenant_service.billing.overage import Held
from tenant_service.billing.subscription import begin_period, charges, standing


def open_subscription(
    session: TenantSession, plan: PlanName, price: int | None, now: datetime, held: Held | None = None
) -> tuple[SubscriptionRow, InvoiceRow]:
    """Add the subscription of the session's tenant, whose first period begins `now`, and its first invoice.

    `price` is what a month on `plan` costs, None where a contract is to say it; `held` is what a tenant
    that is not new holds.
    """
    subscription = SubscriptionRow(
        plan=plan.value, price=price, cancel_at_period_end=False, credits=[], next_invoice=1, version=0
    )
    subscription.state = standing(subscription, is_overdue=False).value
    period = begin_period(subscription, now, 0)
    session.add(subscription)
    lines = charges(plan, price, period, held or Held(0, 0))
    return subscription, issue(session, subscription, Kind.PERIOD, period, lines, now)
