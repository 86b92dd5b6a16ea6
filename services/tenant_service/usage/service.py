"""What a tenant used in a range of time, from one ledger: the one that limits it and bills it too."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mis_tenancy.latency import merged, quantile_ms
from mis_tenancy.plans import GIB
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Allowance, Tenant
from tenant_service.usage import repository
from tenant_service.usage.ranges import TimeRange
from tenant_service.usage.repository import Holding, Level, Tally
from tenant_service.usage.schemas import ApiOut, PointOut, ResponseTimeOut, StorageOut, UsageOut, UsersOut


@dataclass(frozen=True, slots=True)
class History:
    """What the tenant held at any moment: what was noted then, and since the last note what it holds now."""

    levels: Sequence[Level]
    holding: Holding
    now: datetime

    def before(self, moment: datetime) -> Level:
        """Return the level that held just before `moment`."""
        if moment > self.now:
            return self._present
        if moment <= self.holding.created_at:
            return Level(moment, 0, 0)
        earlier = bisect_left(self.levels, moment, key=lambda level: level.start)
        # A tenant older than its first note held then, as far as is known, what that note says.
        return self.levels[max(0, earlier - 1)] if self.levels else self._present

    @property
    def _present(self) -> Level:
        return Level(self.now, self.holding.users, self.holding.storage_bytes)


async def usage(
    session: TenantSession, tenant: Tenant, asked: TimeRange, now: datetime, allowance: Allowance | None
) -> UsageOut:
    """Return the tenant's usage; `allowance` is what the limiter said of the request that asks."""
    found = await repository.tallies(session, asked)
    holding = await repository.holding(session, now)
    history = History(await repository.levels(session, asked), holding, now)
    return UsageOut(
        tenant_id=tenant.id,
        time_range=asked.asked,
        from_=asked.start,
        to=asked.end,
        interval=asked.interval,
        as_of=now,
        users=UsersOut(
            total=holding.users,
            active=await _active(session, asked, now),
            limit=tenant.max_users,
            growth=history.before(asked.end).users - history.before(asked.start).users,
        ),
        storage=StorageOut(
            used_bytes=holding.storage_bytes,
            limit_bytes=None if tenant.max_storage is None else tenant.max_storage * GIB,
            files=holding.files,
        ),
        api=_api(found, tenant, _used_today(holding, allowance)),
        features=merged(tally.features for tally in found),
        series=_series(asked, found, history),
    )


async def _active(session: TenantSession, asked: TimeRange, now: datetime) -> int:
    if asked.end > now:
        return await repository.active_since(session, asked.start)
    return await repository.active_between(session, asked)


def _used_today(holding: Holding, allowance: Allowance | None) -> int:
    """Return today's count: the limiter knows of requests that are on their way into the ledger."""
    if allowance is None or allowance.daily_limit is None or allowance.daily_remaining is None:
        return holding.counted_today
    return max(holding.counted_today, allowance.daily_limit - allowance.daily_remaining)


def _api(found: Sequence[Tally], tenant: Tenant, used_today: int) -> ApiOut:
    requests, errors = sum(tally.requests for tally in found), sum(tally.errors for tally in found)
    return ApiOut(
        requests=requests,
        errors=errors,
        client_errors=sum(tally.client_errors for tally in found),
        rejected=sum(tally.rejected for tally in found),
        error_rate=round(errors / requests, 6) if requests else 0.0,
        response_time=response_time(merged(tally.latency for tally in found)),
        limit_per_day=tenant.daily_limit,
        used_today=used_today,
    )


def response_time(latency: dict[str, int]) -> ResponseTimeOut:
    """Return the quantiles of a histogram."""
    return ResponseTimeOut(p50=quantile_ms(latency, 0.5), p95=quantile_ms(latency, 0.95))


def _series(asked: TimeRange, found: Sequence[Tally], history: History) -> list[PointOut]:
    requests: dict[datetime, int] = {}
    errors: dict[datetime, int] = {}
    for tally in found:
        start = tally.start if asked.interval == "hour" else max(asked.start, tally.start.replace(hour=0))
        requests[start] = requests.get(start, 0) + tally.requests
        errors[start] = errors.get(start, 0) + tally.errors
    points = []
    for start, end in asked.points():
        held = history.before(end)
        points.append(
            PointOut(
                start=start,
                requests=requests.get(start, 0),
                errors=errors.get(start, 0),
                users=held.users,
                storage_bytes=held.storage_bytes,
            )
        )
    return points
