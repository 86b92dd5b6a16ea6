"""Every statement about usage: the ledger's rows, what the tenant holds, and who was active."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    null,
    or_,
    select,
    true,
)

from mis_models.accounts import CountersRow
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import PrincipalKind
from mis_tenancy.usage_tables import (
    UsageDayRow,
    UsageHourRow,
    UsageLevelRow,
    UsageMemberRow,
    UsageMonthRow,
    UsageUserDayRow,
)
from tenant_service.usage.ranges import DAY, HOUR, Span, TimeRange, day_of, month_after

# Decoded here and not by SQLAlchemy, because a year has hundreds of these maps.
_COUNTS = msgspec.json.Decoder(dict[str, int])
_LEVELS = msgspec.json.Decoder(dict[str, tuple[int, int]])


class Tally(NamedTuple):
    """What the ledger counted in the hour or day from `start` on."""

    start: datetime
    requests: int
    errors: int
    client_errors: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Maps:
    """Counts by name of some hours, days or months."""

    latency: dict[str, int]
    features: dict[str, int]


@dataclass(slots=True)
class Counted:
    """What the ledger has of a range: a tally for each hour or day, and maps that add up to all of them."""

    tallies: list[Tally] = field(default_factory=list)
    maps: list[Maps] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Holding:
    """What the tenant holds now, when it began, and what the ledger has seen.

    That is how much of today's quota was used, how many users asked anything in the range, and the last day
    before the range for which a level was noted.
    """

    created_at: datetime
    users: int
    storage_bytes: int
    files: int
    counted_today: int
    active: int
    noted_before: datetime | None


class Level(NamedTuple):
    """What the tenant held in the hour from `start` on, until the next level."""

    start: datetime
    users: int
    storage_bytes: int


async def counted(session: TenantSession, asked: TimeRange, now: datetime) -> Counted:
    """Return the ledger's rows of the range, whole days as one; empty times have none."""
    found = Counted()
    if asked.hours:
        hour = UsageHourRow.hour
        inside = or_(*(_within(hour, span) for span in asked.hours))
        arrays = select(*_arrays(hour, UsageHourRow, _maps(UsageHourRow))).where(inside)
        _take(found, (await session.execute(arrays)).one())
    if asked.days[0] < asked.days[1]:
        await _add_days(found, session, asked, now)
    return found


async def holding(session: TenantSession, asked: TimeRange, now: datetime) -> Holding:
    """Return what the session's tenant holds."""
    today = and_(UsageDayRow.tenant_id == TenantRow.id, UsageDayRow.day == day_of(now))
    active = _active_since(asked.start) if asked.end > now else _active_between(asked)
    # Asked here and not in the query for the levels: under row-level security a condition with a query in it
    # is no condition of an index.
    noted = select(func.max(UsageLevelRow.day)).where(UsageLevelRow.day < day_of(asked.start))
    row = await session.execute(
        select(
            TenantRow.created_at,
            CountersRow.users,
            CountersRow.storage_bytes,
            CountersRow.files,
            func.coalesce(UsageDayRow.counted, 0),
            active.scalar_subquery(),
            noted.scalar_subquery(),
        )
        .join(CountersRow, CountersRow.tenant_id == TenantRow.id)
        .outerjoin(UsageDayRow, today)
        .where(TenantRow.id == tenant_of(session))
    )
    return Holding(*row.one())


async def levels(session: TenantSession, asked: TimeRange, since: datetime | None) -> list[Level]:
    """Return the levels noted from the day `since` up to the range's end, oldest first.

    Hours are told apart on days of which the range has a part; of all others the level is that of the day's
    end.
    """
    row, first = UsageLevelRow, day_of(asked.start)
    by_hour = asked.interval == "hour"
    parts = true() if by_hour else row.day.in_([first, day_of(asked.end)])
    columns = (row.day, row.users, row.storage_bytes, case((parts, cast(row.hours, Text))))
    found: list[Level] = []
    within = and_(row.day >= (since or first), row.day < asked.end)
    arrays = (await session.execute(select(*map(func.array_agg, columns)).where(within))).one()
    for day, users, storage_bytes, hours in _rows(arrays):
        if hours is None:
            found.append(Level(day, users, storage_bytes))
        else:
            found += [Level(day + int(hour) * HOUR, *held) for hour, held in _LEVELS.decode(hours).items()]
    found.sort(key=attrgetter("start"))
    return [level for level in found if level.start < asked.end]


def _active_since(start: datetime) -> Select[int]:
    """Return the query for how many users have asked anything since `start`."""
    return select(func.count()).select_from(UsageMemberRow).where(UsageMemberRow.last_hour >= start)


def _active_between(asked: TimeRange) -> Select[int]:
    """Return the query for how many users asked anything in the range."""
    first, last = asked.days
    parts: list[ColumnElement[bool]] = [_within(UsageUserDayRow.day, (first, last))]
    for start, end in asked.hours:
        parts += [_in_hours(day, start, end) for day in _days_of(start, end)]
    member = UsageUserDayRow.actor_kind == PrincipalKind.MEMBER.value
    return select(func.count(UsageUserDayRow.actor.distinct())).where(member, or_(*parts))


async def _add_days(found: Counted, session: TenantSession, asked: TimeRange, now: datetime) -> None:
    """Add the range's days; of months that are over, the maps of a month stand in for those of its days."""
    row, months = UsageDayRow, asked.whole_months(now)
    over = _within(row.day, months)
    loose = [case((over, null()), else_=one) for one in _maps(row)]
    of_months = [_of_months(column, months) for column in _MONTH] if months[0] < months[1] else []
    statement = select(*_arrays(row.day, row, loose), *of_months).where(_within(row.day, asked.days))
    arrays = (await session.execute(statement)).one()
    _take(found, arrays[:_WIDTH])
    totals = Counter[tuple[int, int]]()
    for tally in found.tallies:
        if months[0] <= tally.start < months[1]:
            totals[tally.start.year, tally.start.month] += tally.requests
    for month, requests, *maps in _rows(arrays[_WIDTH:]):
        # A month's row that is behind its days does not count, as if it had not been made yet.
        if requests == totals[month.year, month.month]:
            found.maps.append(_decoded(*maps))
            del totals[month.year, month.month]
    if totals:
        begun = [datetime(year, month, 1, tzinfo=UTC) for year, month in totals]
        spans = [_within(row.day, (month, month_after(month))) for month in begun]
        rows = await session.execute(select(*_maps(row)).where(or_(*spans)))
        found.maps += [_decoded(*maps) for maps in rows]


def _of_months(column: Any, span: Span) -> ColumnElement[Any]:
    return select(func.array_agg(column)).where(_within(UsageMonthRow.month, span)).scalar_subquery()


def _arrays(start: Any, row: Any, maps: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    """Return what `_take` takes: a year's rows are costly one by one, so they come as one row of arrays."""
    counts = (row.requests, row.errors, row.client_errors, row.rejected)
    return [func.array_agg(column) for column in (start, *counts, *maps)]


def _take(found: Counted, arrays: Iterable[Sequence[Any] | None]) -> None:
    for *tally, latency, features in _rows(arrays):
        found.tallies.append(Tally(*tally))
        if latency is not None:
            found.maps.append(_decoded(latency, features))


def _rows(arrays: Iterable[Sequence[Any] | None]) -> Iterable[tuple[Any, ...]]:
    """Return the rows whose columns the arrays are; of no rows at all Postgres makes null."""
    return zip(*(array or () for array in arrays), strict=True)


def _maps(row: Any) -> list[ColumnElement[Any]]:
    return [cast(row.latency, Text), cast(row.features, Text)]


_MONTH = (UsageMonthRow.month, UsageMonthRow.requests, *_maps(UsageMonthRow))
# How many columns of a row of the ledger are read.
_WIDTH = len(_arrays(UsageDayRow.day, UsageDayRow, _maps(UsageDayRow)))


def _decoded(latency: str, features: str) -> Maps:
    return Maps(_COUNTS.decode(latency), _COUNTS.decode(features))


def _within(column: Any, span: tuple[datetime, datetime]) -> ColumnElement[bool]:
    return and_(column >= span[0], column < span[1])


def _days_of(start: datetime, end: datetime) -> Sequence[datetime]:
    days = [day_of(start)]
    while days[-1] + DAY < end:
        days.append(days[-1] + DAY)
    return days


def _in_hours(day: datetime, start: datetime, end: datetime) -> ColumnElement[bool]:
    """Return the condition that a user's day has a request in one of the hours from `start` to `end`."""
    wanted = sum(1 << hour for hour in range(24) if start <= day + timedelta(hours=hour) < end)
    return and_(UsageUserDayRow.day == day, UsageUserDayRow.hours.op("&")(wanted) != 0)
