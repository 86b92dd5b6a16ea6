"""What a tenant used in a range of time, from one ledger: the one that limits it and bills it too."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from mis_tenancy.latency import merged, quantile_ms
from mis_tenancy.plans import GIB
from mis_tenancy.replicas.reads import Reads
from mis_tenancy.tenant import Allowance, Tenant
from tenant_service.usage import repository
from tenant_service.usage.history import History
from tenant_service.usage.ranges import TimeRange, day_of, hours_since_1970
from tenant_service.usage.repository import Found, Holding, Level, Maps, Tallies
from tenant_service.usage.schemas import (
    ApiOut,
    ResponseTimeOut,
    StorageOut,
    UsageSummary,
    UsersOut,
)
from tenant_service.usage.series import Point, series


async def usage(
    reads: Reads, tenant: Tenant, asked: TimeRange, now: datetime, allowance: Allowance | None
) -> tuple[UsageSummary, list[Point]]:
    """Return the tenant's usage; `allowance` is what the limiter said of the request that asks."""
    found = await repository.found(reads, tenant.id, asked, now)
    holding, history = found.holding, _history(found, now)
    points = series(asked, found.tallies, history)
    maps = found.maps + await _of_months(reads, tenant.id, asked, found, points, now)
    summary = UsageSummary(
        tenant_id=tenant.id,
        time_range=asked.asked,
        from_=asked.start,
        to=asked.end,
        interval=asked.interval,
        as_of=now,
        users=UsersOut(
            total=holding.users,
            active=holding.active,
            limit=tenant.max_users,
            growth=_growth(asked, history),
        ),
        storage=StorageOut(
            used_bytes=holding.storage_bytes,
            limit_bytes=None if tenant.max_storage is None else tenant.max_storage * GIB,
            files=holding.files,
        ),
        api=_api(found.tallies, maps, tenant, _used_today(holding, allowance)),
        features=merged(one.features for one in maps),
    )
    return summary, points


async def _of_months(
    reads: Reads, tenant_id: UUID, asked: TimeRange, found: Found, points: Sequence[Point], now: datetime
) -> list[Maps]:
    """Return the maps of whole months: a month's own or, where that is behind its days, those of its days."""
    maps, behind = [], []
    first = day_of(asked.start)
    for start, end in asked.months(now):
        requests = sum(point.requests for point in points[(start - first).days : (end - first).days])
        month = found.months.get(hours_since_1970(start))
        if month is not None and month.requests == requests:
            maps.append(month.maps)
        elif requests:
            behind.append(start)
    return maps + await repository.maps_of_days(reads, tenant_id, behind) if behind else maps


def _history(found: Found, now: datetime) -> History:
    holding = found.holding
    present = Level(hours_since_1970(now), holding.users, holding.storage_bytes)
    return History(found.levels, present, hours_since_1970(holding.created_at))


def _growth(asked: TimeRange, history: History) -> int:
    start, end = history.before((hours_since_1970(asked.start), hours_since_1970(asked.end)))
    return end.users - start.users


def _used_today(holding: Holding, allowance: Allowance | None) -> int:
    """Return today's count: the limiter knows of requests that are on their way into the ledger.

    A limiter that decides alone knows only how much of its own part is left.
    """
    if allowance is None or allowance.mode == "local":
        return holding.counted_today
    if allowance.daily_limit is None or allowance.daily_remaining is None:
        return holding.counted_today
    return max(holding.counted_today, allowance.daily_limit - allowance.daily_remaining)


def _api(tallies: Tallies, maps: list[Maps], tenant: Tenant, used_today: int) -> ApiOut:
    requests, errors = sum(tallies.requests), sum(tallies.errors)
    return ApiOut(
        requests=requests,
        errors=errors,
        client_errors=sum(tallies.client_errors),
        rejected=sum(tallies.rejected),
        error_rate=round(errors / requests, 6) if requests else 0.0,
        response_time=response_time(merged(one.latency for one in maps)),
        limit_per_day=tenant.daily_limit,
        used_today=used_today,
    )


def response_time(latency: dict[str, int]) -> ResponseTimeOut:
    """Return the quantiles of a histogram."""
    return ResponseTimeOut(p50=quantile_ms(latency, 0.5), p95=quantile_ms(latency, 0.95))
