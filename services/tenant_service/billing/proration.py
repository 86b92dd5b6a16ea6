"""What a part of a period costs: each plan, and what is held above it, is paid for as long as it was held.

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
    """A plan at its price for a month, and what a month costs of what is held above its limits.

    No price is a contract that has none yet, and costs nothing.
    """

    plan: str
    price: int | None
    overage: int = 0

    @property
    def rate(self) -> int:
        """What a month of it costs."""
        return (self.price or 0) + self.overage

    def rest(self, period: Period, moment: datetime) -> int:
        """Return what staying from `moment` to the period's end costs."""
        return rest(self.rate, period, moment)
