"""Ranges of time that usage is asked for: half-open, in UTC, whole hours or days.

`30d` is thirty UTC days of which today is the last, so it reads thirty daily rows. A range of two days or
less is shown by the hour, a longer one by the day; where a longer one begins or ends inside a day, that
day's part is read by the hour. A range that begins before what the ledger keeps by the hour is widened to
whole days, as only those are kept for longer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from mis_tenancy.errors import ValidationFailed
from mis_tenancy.usage_tables import KEPT_DAYS

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
LONGEST: Final = timedelta(days=400)
KEPT: Final = KEPT_DAYS * DAY
DEFAULT: Final = "30d"
_BY_THE_HOUR: Final = 2 * DAY
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ASKED: Final = re.compile(r"([0-9]{1,5})([hdwm])")
_MOST_MONTHS: Final = 13
# At the calendar's own ends a moment has no next day.
_CALENDAR: Final = range(2000, 9000)

Span = tuple[datetime, datetime]


def hours_since_1970(moment: datetime) -> int:
    """Return the number of whole hours from the beginning of 1970 to `moment`."""
    return (moment - _EPOCH) // HOUR


def hour_of(moment: datetime) -> datetime:
    """Return the beginning of the UTC hour of `moment`."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(moment: datetime) -> datetime:
    """Return the beginning of the UTC day of `moment`."""
    return hour_of(moment).replace(hour=0)


def month_of(moment: datetime) -> datetime:
    """Return the beginning of the UTC month of `moment`."""
    return day_of(moment).replace(day=1)


def month_after(moment: datetime) -> datetime:
    """Return the beginning of the UTC month after that of `moment`."""
    return month_of(month_of(moment) + 31 * DAY)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `start` until before `end`, both on the hour in UTC; `asked` is its name, if any.

    One without `has_hours` is of whole days.
    """

    start: datetime
    end: datetime
    asked: str | None = None
    has_hours: bool = True

    @property
    def interval(self) -> Literal["hour", "day"]:
        """What one point of a series covers."""
        return "hour" if self.has_hours and self.end - self.start <= _BY_THE_HOUR else "day"

    @property
    def days(self) -> Span:
        """The part that is read by the day; empty where the range is shown by the hour."""
        first = day_of(self.start + DAY - timedelta(microseconds=1))
        return (self.end, self.end) if self.interval == "hour" else (first, day_of(self.end))

    def whole_months(self, now: datetime) -> Span:
        """Return the part made of whole calendar months that had ended before `now`; it may be empty."""
        first, last = self.days
        start = month_of(first) if first == month_of(first) else month_after(first)
        end = min(month_of(last), month_of(now))
        return (start, end) if start < end else (last, last)

    def months(self, now: datetime) -> Iterator[Span]:
        """Yield each of those months."""
        start, end = self.whole_months(now)
        while start < end:
            yield start, month_after(start)
            start = month_after(start)

    @property
    def hours(self) -> list[Span]:
        """The parts that are read by the hour: the whole range, or what lies outside whole days."""
        first, last = self.days
        if first == last:
            return [(self.start, self.end)]
        return [span for span in ((self.start, first), (last, self.end)) if span[0] < span[1]]

    def edges(self) -> list[int]:
        """Return the hours since 1970 at which points of the series begin, and last the one that ends it.

        The first point and the last may be parts of a day.
        """
        start, end = hours_since_1970(self.start), hours_since_1970(self.end)
        step = 1 if self.interval == "hour" else 24
        return [start, *range(start - start % step + step, end, step), end]

    def in_whole_days(self) -> "TimeRange":
        """Return the range widened to whole UTC days."""
        end = day_of(self.end + DAY - timedelta(microseconds=1))
        return replace(self, start=day_of(self.start), end=end)


def read_range(asked: str | None, since: datetime | None, until: datetime | None, now: datetime) -> TimeRange:
    """Return the range of `timeRange` or of `from` and `to`; raise ValidationFailed for any other.

    `from` is taken down to its hour and `to` up to the next one; `to` alone may be left out and is then now.
    """
    if since is None and until is None:
        return _called(DEFAULT if asked is None else asked, now)
    if asked is not None:
        raise _unfit("timeRange", "stands alone: leave it out, or leave out `from` and `to`")
    if since is None:
        raise _unfit("from", "is needed beside `to`")
    found = _between(since, now if until is None else until)
    return found if found.start > now - KEPT else replace(found.in_whole_days(), has_hours=False)


def _called(asked: str, now: datetime) -> TimeRange:
    matched = _ASKED.fullmatch(asked)
    count = int(matched[1]) if matched else 0
    if matched is None or count == 0:
        raise _unfit("timeRange", "is a number above 0 and h, d, w or m, such as 24h, 30d, 4w or 12m")
    unit = matched[2]
    end = hour_of(now) + HOUR if unit == "h" else day_of(now) + DAY
    if unit == "m":
        # Refused here, because a calendar goes only so far back.
        if count > _MOST_MONTHS:
            raise _too_long("timeRange")
        start = _months_before(end, count)
    else:
        start = end - count * {"h": HOUR, "d": DAY, "w": 7 * DAY}[unit]
    if end - start > LONGEST:
        raise _too_long("timeRange")
    return TimeRange(start, end, asked)


def _between(since: datetime, until: datetime) -> TimeRange:
    for field, moment in (("from", since), ("to", until)):
        if moment.year not in _CALENDAR:
            raise _unfit(field, f"is a year from {_CALENDAR.start} to {_CALENDAR.stop - 1}")
    if since >= until:
        raise _unfit("from", "is not before `to`")
    if until - since > LONGEST:
        raise _too_long("from")
    end = hour_of(until)
    return TimeRange(hour_of(since), end if end == until else end + HOUR)


def _months_before(moment: datetime, count: int) -> datetime:
    """Return the same day `count` months earlier, or the last one of a month that is too short for it."""
    year, month = divmod(moment.year * 12 + moment.month - 1 - count, 12)
    first = moment.replace(year=year, month=month + 1, day=1)
    length = (month_after(first) - first).days
    return first.replace(day=min(moment.day, length))


def _too_long(field: str) -> ValidationFailed:
    return _unfit(field, f"reaches over more than {LONGEST.days} days")


def _unfit(field: str, message: str) -> ValidationFailed:
    return ValidationFailed([{"field": field, "code": "time_range_invalid", "message": message}])
