"""Every statement of analytics: a range of whole days, added up by route, by user and by the day's maps."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Text, and_, cast, func, literal, select

from mis_tenancy.latency import merged
from mis_tenancy.session import TenantSession
from mis_tenancy.usage_tables import UsageDayRow, UsageRouteDayRow, UsageUserDayRow
from tenant_service.usage.ranges import TimeRange


@dataclass(frozen=True, slots=True)
class Sums:
    """Requests of one kind."""

    requests: int
    errors: int
    client_errors: int
    rejected: int


@dataclass(frozen=True, slots=True)
class ByRoute:
    """Requests of one route."""

    route: str
    sums: Sums
    latency: dict[str, int]


@dataclass(frozen=True, slots=True)
class ByUser:
    """Requests of one user, key or operator."""

    user_id: UUID
    kind: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class ByDay:
    """Requests of the range by hour of the day, by status and by feature."""

    hours: dict[str, int]
    statuses: dict[str, int]
    features: dict[str, int]


async def by_day(session: TenantSession, asked: TimeRange) -> ByDay:
    """Return what the daily rows of the range add up to."""
    row = UsageDayRow
    rows = (await session.execute(select(row.hours, row.statuses, row.features).where(_in(row, asked)))).all()
    return ByDay(*(merged(one[at] for one in rows) for at in range(3)))


async def by_route(session: TenantSession, asked: TimeRange, most: int) -> Sequence[ByRoute]:
    """Return the `most` used routes, most used first."""
    row = UsageRouteDayRow
    rows = await session.execute(
        select(row.route, *_sums(row))
        .where(_in(row, asked))
        .group_by(row.route)
        .order_by(func.sum(row.requests).desc(), row.route)
        .limit(most)
    )
    found = [(one[0], Sums(*map(int, one[1:]))) for one in rows]
    latency = await _latency(session, asked, [route for route, _ in found])
    return [ByRoute(route, sums, latency[route]) for route, sums in found]


async def by_user(session: TenantSession, asked: TimeRange, most: int) -> Sequence[ByUser]:
    """Return the `most` active users, most active first."""
    row = UsageUserDayRow
    rows = await session.execute(
        select(row.actor, func.min(row.actor_kind), *_sums(row))
        .where(_in(row, asked))
        .group_by(row.actor)
        .order_by(func.sum(row.requests).desc(), row.actor)
        .limit(most)
    )
    return [ByUser(one[0], one[1], Sums(*map(int, one[2:]))) for one in rows]


async def _latency(
    session: TenantSession, asked: TimeRange, routes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Return the routes' histograms; Postgres adds them up, as a year of them would hold others up."""
    row = UsageRouteDayRow
    bucket = func.jsonb_each_text(row.latency).table_valued("key", "value")
    name, count = cast(bucket.c.key, Text), cast(bucket.c["value"], BigInteger)
    rows = await session.execute(
        select(row.route, name, func.sum(count))
        .join(bucket, literal(True))
        .where(_in(row, asked), row.route.in_(routes))
        .group_by(row.route, name)
    )
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for route, one, total in rows:
        found[route][one] = int(total)
    return found


def _in(row: Any, asked: TimeRange) -> Any:
    return and_(row.day >= asked.start, row.day < asked.end)


def _sums(row: Any) -> list[Any]:
    return [func.sum(column) for column in (row.requests, row.errors, row.client_errors, row.rejected)]
