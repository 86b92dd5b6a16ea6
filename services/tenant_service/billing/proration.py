"""What a change within a period costs or gives back: each plan is paid for exactly as long as it was held.

A month's price is used up linearly by the microsecond, rounded down to whole cents at each moment. The price
of a span is the difference of two such readings, so the spans of a price always add up to it, and the price
of each is less than one cent away from its share of the month.
"""

from dataclasses import dataclass
from datetime import datetime

from tenant_service.billing.periods import Period


def used(price: int, period: Period, moment: datetime) -> int:
    """Return the cents of `price` that the part of the period before `moment` has used up."""
    return price * period.elapsed(moment) // period.length


def rest(price: int, period: Period, moment: datetime) -> int:
    """Return the cents of `price` that are for the part of the period from `moment` on."""
    return price - used(price, period, moment)


@dataclass(frozen=True, slots=True)
class Stay:
    """A plan at its price for a month; no price is a contract that has none yet, and costs nothing."""

    plan: str
    price: int | None

    def rest(self, period: Period, moment: datetime) -> int:
        """Return what staying from `moment` to the period's end costs."""
        return rest(self.price or 0, period, moment)


@dataclass(frozen=True, slots=True)
class Change:
    """A change from one stay to another at a moment of a period."""

    before: Stay
    after: Stay
    period: Period
    moment: datetime

    @property
    def unused(self) -> int:
        """What was paid for the rest of the period on the plan that is left."""
        return self.before.rest(self.period, self.moment)

    @property
    def charge(self) -> int:
        """What the rest of the period costs on the plan that is entered."""
        return self.after.rest(self.period, self.moment)

    @property
    def net(self) -> int:
        """What is to be paid now, or, where negative, given back on the next invoice."""
        return self.charge - self.unused
