"""Every statement about usage: the ledger's rows, what the tenant holds, and who was active."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Text, and_, cast, func, or_, select

from mis_models.accounts import CountersRow
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import PrincipalKind
from mis_tenancy.usage_tables import (
    UsageDayRow,
    UsageHourRow,
    UsageLevelRow,
    UsageMemberRow,
    UsageUserDayRow,
)
from tenant_service.usage.ranges import DAY, HOUR, TimeRange, day_of

# Decoded here and not by SQLAlchemy, because a year has hundreds of these maps.
_COUNTS = msgspec.json.Decoder(dict[str, int])
_LEVELS = msgspec.json.Decoder(dict[str, tuple[int, int]])


@dataclass(frozen=True, slots=True)
class Tally:
    """What the ledger counted in the hour or day from `start` on."""

    start: datetime
    requests: int
    errors: int
    client_errors: int
    rejected: int
    latency: dict[str, int]
    features: dict[str, int]


@dataclass(frozen=True, slots=True)
class Holding:
    """What the tenant holds now, when it began, and how much of today's quota the ledger has seen used."""

    created_at: datetime
    users: int
    storage_bytes: int
    files: int
    counted_today: int


@dataclass(frozen=True, slots=True)
class Level:
    """What the tenant held in the hour from `start` on, until the next level."""

    start: datetime
    users: int
    storage_bytes: int


async def tallies(session: TenantSession, asked: TimeRange) -> list[Tally]:
    """Return the ledger's rows of the range, whole days as one; empty times have none."""
    found: list[Tally] = []
    if asked.hours:
        spans = [_within(UsageHourRow.hour, span) for span in asked.hours]
        found += await _tallies(session, UsageHourRow, UsageHourRow.hour, or_(*spans))
    if asked.days[0] < asked.days[1]:
        found += await _tallies(session, UsageDayRow, UsageDayRow.day, _within(UsageDayRow.day, asked.days))
    return found


async def holding(session: TenantSession, now: datetime) -> Holding:
    """Return what the session's tenant holds."""
    today = and_(UsageDayRow.tenant_id == TenantRow.id, UsageDayRow.day == day_of(now))
    row = await session.execute(
        select(
            TenantRow.created_at,
            CountersRow.users,
            CountersRow.storage_bytes,
            CountersRow.files,
            func.coalesce(UsageDayRow.counted, 0),
        )
        .join(CountersRow, CountersRow.tenant_id == TenantRow.id)
        .outerjoin(UsageDayRow, today)
        .where(TenantRow.id == tenant_of(session))
    )
    return Holding(*row.one())


async def levels(session: TenantSession, asked: TimeRange) -> list[Level]:
    """Return the levels that were noted up to the range's end, oldest first, beginning with one before it.

    Where none is as old as that, the first one is the oldest of all.
    """
    before = (
        select(func.max(UsageLevelRow.day)).where(UsageLevelRow.day < day_of(asked.start)).scalar_subquery()
    )
    rows = await session.execute(
        select(UsageLevelRow.day, cast(UsageLevelRow.hours, Text))
        .where(UsageLevelRow.day >= func.coalesce(before, day_of(asked.start)), UsageLevelRow.day < asked.end)
        .order_by(UsageLevelRow.day)
    )
    found = [
        Level(day + int(hour) * HOUR, *held)
        for day, hours in rows
        for hour, held in sorted(_LEVELS.decode(hours).items(), key=lambda one: int(one[0]))
    ]
    return [level for level in found if level.start < asked.end]


async def active_since(session: TenantSession, start: datetime) -> int:
    """Return how many users have asked anything since `start`."""
    return (
        await session.execute(
            select(func.count()).select_from(UsageMemberRow).where(UsageMemberRow.last_hour >= start)
        )
    ).scalar_one()


async def active_between(session: TenantSession, asked: TimeRange) -> int:
    """Return how many users asked anything in the range."""
    first, last = asked.days
    parts: list[ColumnElement[bool]] = [_within(UsageUserDayRow.day, (first, last))]
    for start, end in asked.hours:
        parts += [_in_hours(day, start, end) for day in _days_of(start, end)]
    member = UsageUserDayRow.actor_kind == PrincipalKind.MEMBER.value
    counted = select(func.count(UsageUserDayRow.actor.distinct())).where(member, or_(*parts))
    return (await session.execute(counted)).scalar_one()


async def _tallies(
    session: TenantSession, row: Any, start: Any, condition: ColumnElement[bool]
) -> list[Tally]:
    columns = (start, row.requests, row.errors, row.client_errors, row.rejected)
    maps = (cast(row.latency, Text), cast(row.features, Text))
    rows = await session.execute(select(*columns, *maps).where(condition))
    return [Tally(*one[:5], *map(_COUNTS.decode, one[5:])) for one in rows]


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
