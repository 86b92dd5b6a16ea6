"""What a change of plan or of a contract's price does to the bill: more is due at once, less is a credit."""

from dataclasses import dataclass
from datetime import datetime

from mis_models.billing import InvoiceRow, SubscriptionRow
from mis_tenancy.session import TenantSession
from tenant_service.billing.amounts import Credit, Line
from tenant_service.billing.covers import Cover, left_of, live, lowered, rate_of
from tenant_service.billing.issuing import Kind, issue
from tenant_service.billing.periods import Period
from tenant_service.billing.proration import Stay, rest
from tenant_service.billing.subscription import State, named, period_of, standing, stay_of


@dataclass(frozen=True, slots=True)
class Change:
    """A change from one stay, which is paid for by `covers`, to another at a moment of a period."""

    before: Stay
    after: Stay
    covers: tuple[Cover, ...]
    period: Period
    moment: datetime

    @property
    def unused(self) -> int:
        """What was charged for the rest of the period on the stay that is left, and is not void."""
        covers = live(self.covers)
        charged = rest(rate_of(covers), self.period, self.moment)
        # After invoices were made void, rounding alone could give back a cent that nothing was charged for.
        return min(charged, self.charge + left_of(covers))

    @property
    def charge(self) -> int:
        """What the rest of the period costs on the stay that is entered."""
        return self.after.rest(self.period, self.moment)

    @property
    def net(self) -> int:
        """What is to be paid now, or, where negative, given back on the next invoice."""
        return self.charge - self.unused

    def covered(self, invoice: InvoiceRow | None) -> tuple[Cover, ...]:
        """Return what pays for the stay that is entered, where `invoice` was issued for it."""
        covers = live(self.covers)
        more = self.after.rate - rate_of(covers)
        if more <= 0:
            return lowered(covers, self.after.rate, max(0, -self.net), self.period, self.moment)
        by = Cover(None, more, 0) if invoice is None else Cover.by(invoice, more, self.net)
        return (*covers, by)


def change_to(subscription: SubscriptionRow, after: Stay, now: datetime) -> Change:
    """Return what it means to go on with `after` from `now` to the end of the running period."""
    return Change(stay_of(subscription), after, covers_of(subscription), period_of(subscription), now)


def covers_of(subscription: SubscriptionRow) -> tuple[Cover, ...]:
    """Return what pays for the running stay.

    Covers that are not those of the stay were left by a version that knew none: then all counts as paid.
    """
    covers, rate = Cover.loaded(subscription.covers), stay_of(subscription).rate
    return covers if rate_of(covers) == rate else (Cover(None, rate, rate),)


def lines_of(change: Change) -> list[Line]:
    """Return the lines of a change that costs something; those that give back come first."""
    span = _span(change)
    before, after = change.before, change.after
    unused = min(change.unused, rest(before.price or 0, change.period, change.moment))
    charge = rest(after.price or 0, change.period, change.moment)
    lines = (
        Line(f"{named(before.plan)} plan, not used {span}", -unused),
        Line(f"{_above(before)}, not used {span}", unused - change.unused),
        Line(f"{named(after.plan)} plan, {span}", charge),
        Line(f"{_above(after)}, {span}", change.charge - charge),
    )
    return [line for line in lines if line.amount]


def credit_of(change: Change) -> Credit:
    """Return the credit of a change that gives something back."""
    after, before = _words(change.after), _words(change.before)
    return Credit(f"Less for {after} than for {before}, {_span(change)}", -change.net)


def carry_out(
    session: TenantSession, subscription: SubscriptionRow, after: Stay, now: datetime
) -> InvoiceRow | None:
    """Go on with `after` from `now`; return the invoice where it costs more.

    The subscription must be locked and its running period contain `now`. One that has ended only takes note
    of the plan.
    """
    change = change_to(subscription, after, now)
    subscription.plan, subscription.price, subscription.overage = after.plan, after.price, after.overage
    subscription.version += 1
    if subscription.state == State.CANCELED:
        return None
    is_overdue = subscription.state == State.PAST_DUE
    subscription.state = standing(subscription, is_overdue=is_overdue).value
    invoice = None
    if change.net > 0:
        left = Period(now, change.period.end)
        invoice = issue(session, subscription, Kind.CHANGE, left, lines_of(change), now)
    elif change.net < 0:
        subscription.credits = [*subscription.credits, credit_of(change).stored()]
    subscription.covers = [cover.stored() for cover in change.covered(invoice)]
    return invoice


def _span(change: Change) -> str:
    return f"{change.moment:%Y-%m-%d} to {change.period.end:%Y-%m-%d}"


def _above(stay: Stay) -> str:
    return f"Users and storage above the {named(stay.plan)} plan's limits"


def _words(stay: Stay) -> str:
    return f"{named(stay.plan)} and what is held above it" if stay.overage else named(stay.plan)
