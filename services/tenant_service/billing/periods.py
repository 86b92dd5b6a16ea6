"""Billing periods: months counted from an anchor, so that a short month moves no later one.

Months are those of UTC. Counting from the anchor and not from the period before is what brings a
subscription of the 31st back to the 31st after February.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A span of time, half-open."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, anchor: datetime, number: int) -> Self:
        """Return the month that begins `number` months after `anchor`."""
        return cls(anniversary(anchor, number), anniversary(anchor, number + 1))

    @property
    def length(self) -> int:
        """The period in microseconds."""
        return (self.end - self.start) // _MICROSECOND

    def elapsed(self, moment: datetime) -> int:
        """Return how many of its microseconds have passed at `moment`."""
        return min(max(0, (moment - self.start) // _MICROSECOND), self.length)


def anniversary(anchor: datetime, months: int) -> datetime:
    """Return the moment `months` months after `anchor`: its day and time, or the month's last day."""
    start = anchor.astimezone(UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day)
