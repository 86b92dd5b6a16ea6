"""What a tenant used in a range of time, from one ledger: the one that limits it and bills it too."""

from datetime import datetime

from mis_tenancy.latency import merged, quantile_ms
from mis_tenancy.plans import GIB
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Allowance, Tenant
from tenant_service.usage import repository
from tenant_service.usage.history import History
from tenant_service.usage.ranges import TimeRange
from tenant_service.usage.repository import Counted, Holding
from tenant_service.usage.schemas import (
    ApiOut,
    ResponseTimeOut,
    StorageOut,
    UsageSummary,
    UsersOut,
)
from tenant_service.usage.series import Point, series


async def usage(
    session: TenantSession, tenant: Tenant, asked: TimeRange, now: datetime, allowance: Allowance | None
) -> tuple[UsageSummary, list[Point]]:
    """Return the tenant's usage; `allowance` is what the limiter said of the request that asks."""
    found = await repository.counted(session, asked, now)
    holding = await repository.holding(session, asked, now)
    history = History(await repository.levels(session, asked, holding.noted_before), holding, now)
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
        api=_api(found, tenant, _used_today(holding, allowance)),
        features=merged(maps.features for maps in found.maps),
    )
    return summary, series(asked, found.tallies, history)


def _growth(asked: TimeRange, history: History) -> int:
    start, end = history.before((asked.start, asked.end))
    return end.users - start.users


def _used_today(holding: Holding, allowance: Allowance | None) -> int:
    """Return today's count: the limiter knows of requests that are on their way into the ledger."""
    if allowance is None or allowance.daily_limit is None or allowance.daily_remaining is None:
        return holding.counted_today
    return max(holding.counted_today, allowance.daily_limit - allowance.daily_remaining)


def _api(found: Counted, tenant: Tenant, used_today: int) -> ApiOut:
    tallies = found.tallies
    requests, errors = sum(tally.requests for tally in tallies), sum(tally.errors for tally in tallies)
    return ApiOut(
        requests=requests,
        errors=errors,
        client_errors=sum(tally.client_errors for tally in tallies),
        rejected=sum(tally.rejected for tally in tallies),
        error_rate=round(errors / requests, 6) if requests else 0.0,
        response_time=response_time(merged(maps.latency for maps in found.maps)),
        limit_per_day=tenant.daily_limit,
        used_today=used_today,
    )


def response_time(latency: dict[str, int]) -> ResponseTimeOut:
    """Return the quantiles of a histogram."""
    return ResponseTimeOut(p50=quantile_ms(latency, 0.5), p95=quantile_ms(latency, 0.95))
