"""Who may see which breakdown of a tenant's requests, and what each one is."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from mis_tenancy.errors import ActAsRequired
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Tenant
from tenant_service.trail import Caller
from tenant_service.usage import analytics_repository as breakdowns
from tenant_service.usage.analytics_repository import Sums
from tenant_service.usage.ranges import TimeRange
from tenant_service.usage.schemas import (
    AnalyticsOut,
    FeatureOut,
    HourOut,
    RouteOut,
    StatusOut,
    UserOut,
)
from tenant_service.usage.service import response_time


class By(StrEnum):
    """What requests can be broken down by."""

    ROUTE = "route"
    USER = "user"
    HOUR = "hour"
    STATUS = "status"
    FEATURE = "feature"


_OF_DAYS: Final = frozenset({By.HOUR, By.STATUS, By.FEATURE})


def chosen(asked: By | None, caller: Caller) -> frozenset[By]:
    """Return the breakdowns to show: the one asked for, or all that the caller may see.

    What each user did is the tenant's own. Operators see it inside the tenant only; raise ActAsRequired when
    they ask for it from outside.
    """
    if asked is By.USER and caller.is_operator:
        raise ActAsRequired
    if asked is not None:
        return frozenset({asked})
    return frozenset(By) - ({By.USER} if caller.is_operator else frozenset())


async def analytics(
    session: TenantSession,
    tenant: Tenant,
    asked: TimeRange,
    now: datetime,
    *,
    by: frozenset[By],
    most: int,
) -> AnalyticsOut:
    """Return the breakdowns `by` of whole days; of routes and users the `most` busy ones."""
    days = asked.in_whole_days()
    shown: dict[str, Any] = {}
    if By.ROUTE in by:
        shown["by_route"] = [
            RouteOut(route=one.route, response_time=response_time(one.latency), **_members(one.sums))
            for one in await breakdowns.by_route(session, days, most)
        ]
    if By.USER in by:
        shown["by_user"] = [
            UserOut(user_id=one.user_id, kind=one.kind, **_members(one.sums))
            for one in await breakdowns.by_user(session, days, most)
        ]
    if by & _OF_DAYS:
        shown |= await _of_days(session, days, by)
    return AnalyticsOut(
        tenant_id=tenant.id, time_range=asked.asked, from_=days.start, to=days.end, as_of=now, **shown
    )


async def _of_days(session: TenantSession, days: TimeRange, by: frozenset[By]) -> dict[str, Any]:
    found = await breakdowns.by_day(session, days)
    shown: dict[str, Any] = {}
    if By.HOUR in by:
        hours = found.hours
        shown["by_hour"] = [HourOut(hour=hour, requests=hours.get(str(hour), 0)) for hour in range(24)]
    if By.STATUS in by:
        shown["by_status"] = [
            StatusOut(status=status, requests=count) for status, count in sorted(found.statuses.items())
        ]
    if By.FEATURE in by:
        shown["by_feature"] = [
            FeatureOut(feature=feature, requests=count) for feature, count in _largest(found.features)
        ]
    return shown


def _largest(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _members(sums: Sums) -> dict[str, int]:
    return {
        "requests": sums.requests,
        "errors": sums.errors,
        "client_errors": sums.client_errors,
        "rejected": sums.rejected,
    }
