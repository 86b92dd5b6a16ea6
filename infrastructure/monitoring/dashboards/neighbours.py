"""Who takes most, and whether the others feel it."""

from typing import Any, Final

from layout import TO_TENANT, Dashboard
from panels import Panel, Query, top

_NAMED: Final = '{tenant!="other"}'


def _ranking(title: str, expr: str, **options: Any) -> Panel:
    """Return a panel of the ten tenants with most of `expr`; a click on one opens its dashboard."""
    return Panel(title, top(expr), width=12, height=9, ranked=360, leads=TO_TENANT, **options)


NEIGHBOURS: Final = Dashboard(
    "mis-neighbours",
    "Noisy neighbours",
    "Who takes most, and whether the others feel it.",
    (
        (
            "Who takes most",
            (
                _ranking("Requests", f"tenant:mis_tenant_requests:rate5m{_NAMED}", unit="reqps"),
                _ranking(
                    "Time that requests take",
                    f"sum by (tenant) (rate(mis_tenant_request_duration_seconds_sum{_NAMED}[5m]))",
                    help="Seconds of requests in each second: so many of them are under way at a time.",
                ),
                _ranking(
                    "Share of all requests",
                    f"tenant:mis_tenant_requests:rate5m{_NAMED} "
                    "/ scalar(sum(tenant:mis_tenant_requests:rate5m))",
                    unit="percentunit",
                    help="MisTenantDominates fires above a half, from 50 requests a second on.",
                    warn=0.5,
                    ceiling=0.6,
                ),
                _ranking(
                    "Over their limits (429)",
                    f"tenant:mis_tenant_rejections:rate5m{_NAMED} > 0",
                    unit="reqps",
                    quiet="Nobody is over a limit.",
                ),
            ),
        ),
        (
            "Whether the others feel it",
            (
                Panel(
                    "Slowest of twenty (p95)",
                    (
                        Query("max(tenant:mis_tenant_request_duration_seconds:p95_5m)", "the slowest tenant"),
                        Query(
                            "quantile(0.5, tenant:mis_tenant_request_duration_seconds:p95_5m)",
                            "the middle one",
                        ),
                        Query(
                            'tenant:mis_tenant_request_duration_seconds:p95_5m{tenant="other"}',
                            "those without a name",
                        ),
                    ),
                    unit="s",
                    width=12,
                    height=9,
                ),
                _ranking(
                    "Failed (5xx)",
                    f"tenant:mis_tenant_requests_failed:ratio5m{_NAMED} > 0",
                    unit="percentunit",
                    help="MisTenantFails fires above one in twenty.",
                    quiet="Nobody's requests fail.",
                    bad=0.05,
                    ceiling=0.06,
                ),
            ),
        ),
        (
            "Who grows",
            (
                _ranking(
                    "Stored in a day",
                    f"tenant:mis_tenant_storage_bytes:growth1d{_NAMED}",
                    unit="bytes",
                    quiet="On the first day there is nothing to compare with.",
                ),
                _ranking(
                    "Users added in a day",
                    f"tenant:mis_tenant_users:growth1d{_NAMED}",
                    quiet="On the first day there is nothing to compare with.",
                ),
                _ranking(
                    "Nearest to their storage limit",
                    f"max by (tenant) (mis_tenant_storage_bytes{_NAMED}) "
                    "/ max by (tenant) (mis_tenant_storage_limit_bytes)",
                    unit="percentunit",
                    quiet="Nobody has a limit.",
                    warn=0.8,
                    bad=1,
                    ceiling=1.1,
                ),
                _ranking(
                    "Nearest to their users' limit",
                    f"max by (tenant) (mis_tenant_users{_NAMED}) / max by (tenant) (mis_tenant_users_limit)",
                    unit="percentunit",
                    quiet="Nobody has a limit.",
                    warn=0.8,
                    bad=1,
                    ceiling=1.1,
                ),
            ),
        ),
    ),
)
