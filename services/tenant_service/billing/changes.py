"""What a change of plan or of a contract's price does to the bill: more is due at once, less is a credit."""

from datetime import datetime

from mis_models.billing import InvoiceRow, SubscriptionRow
from mis_tenancy.session import TenantSession
from tenant_service.billing.amounts import Credit, Line
from tenant_service.billing.issuing import Kind, issue
from tenant_service.billing.periods import Period
from tenant_service.billing.proration import Change, Stay
from tenant_service.billing.subscription import State, named, period_of, standing, stay_of


def change_to(subscription: SubscriptionRow, after: Stay, now: datetime) -> Change:
    """Return what it means to go on with `after` from `now` to the end of the running period."""
    return Change(stay_of(subscription), after, period_of(subscription), now)


def lines_of(change: Change) -> list[Line]:
    """Return the lines of a change that costs something."""
    span = f"{change.moment:%Y-%m-%d} to {change.period.end:%Y-%m-%d}"
    given_back = Line(f"{named(change.before.plan)} plan, not used {span}", -change.unused)
    charged = Line(f"{named(change.after.plan)} plan, {span}", change.charge)
    return [line for line in (given_back, charged) if line.amount]


def credit_of(change: Change) -> Credit:
    """Return the credit of a change that gives something back."""
    span = f"{change.moment:%Y-%m-%d} to {change.period.end:%Y-%m-%d}"
    return Credit(
        f"Less for {named(change.after.plan)} than for {named(change.before.plan)} {span}", -change.net
    )


def carry_out(
    session: TenantSession, subscription: SubscriptionRow, after: Stay, now: datetime
) -> InvoiceRow | None:
    """Go on with `after` from `now`; return the invoice where it costs more.

    The subscription must be locked and its running period contain `now`. One that has ended only takes note
    of the plan.
    """
    change = change_to(subscription, after, now)
    subscription.plan, subscription.price = after.plan, after.price
    subscription.version += 1
    if subscription.state == State.CANCELED:
        return None
    is_overdue = subscription.state == State.PAST_DUE
    subscription.state = standing(subscription, is_overdue=is_overdue).value
    if change.net > 0:
        rest = Period(now, change.period.end)
        return issue(session, subscription, Kind.CHANGE, rest, lines_of(change), now)
    if change.net < 0:
        subscription.credits = [*subscription.credits, credit_of(change).stored()]
    return None
