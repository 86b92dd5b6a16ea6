"""Who takes most, and whether the others feel it."""

from typing import Final

from panels import Dashboard, Panel, Query, top

_NAMED: Final = '{tenant!="other"}'
NEIGHBOURS: Final = Dashboard(
    "mis-neighbours",
    "Noisy neighbours",
    "Who takes most, and whether the others feel it.",
    (
        (
            "Who takes most",
            (
                Panel("Requests", top(f"tenant:mis_tenant_requests:rate5m{_NAMED}"), unit="reqps", width=12),
                Panel(
                    "Time that requests take",
                    top(f"sum by (tenant) (rate(mis_tenant_request_duration_seconds_sum{_NAMED}[5m]))"),
                    width=12,
                    help="Seconds of requests in each second: so many of them are under way at a time.",
                ),
                Panel(
                    "Share of all requests",
                    (
                        *top(
                            f"tenant:mis_tenant_requests:rate5m{_NAMED} "
                            "/ scalar(sum(tenant:mis_tenant_requests:rate5m))"
                        ),
                    ),
                    unit="percentunit",
                    width=12,
                    help="MisTenantDominates fires above a half, from 50 requests a second on.",
                    warn=0.5,
                ),
                Panel(
                    "Over their limits (429)",
                    top(f"tenant:mis_tenant_rejections:rate5m{_NAMED}"),
                    unit="reqps",
                    width=12,
                ),
            ),
        ),
        (
            "Whether the others feel it",
            (
                Panel(
                    "Slowest of twenty (p95)",
                    (
                        Query(
                            'tenant:mis_tenant_request_duration_seconds:p95_5m{tenant="other"}', "the others"
                        ),
                        Query("max(tenant:mis_tenant_request_duration_seconds:p95_5m)", "the slowest tenant"),
                        Query(
                            "quantile(0.5, tenant:mis_tenant_request_duration_seconds:p95_5m)",
                            "the middle one",
                        ),
                    ),
                    unit="s",
                    width=12,
                ),
                Panel(
                    "Failed (5xx)",
                    top(f"tenant:mis_tenant_requests_failed:ratio5m{_NAMED}"),
                    unit="percentunit",
                    width=12,
                    bad=0.05,
                ),
            ),
        ),
        (
            "Who grows",
            (
                Panel(
                    "Stored in a day", top(f"tenant:mis_tenant_storage_bytes:growth1d{_NAMED}"), unit="bytes"
                ),
                Panel("Users added in a day", top(f"tenant:mis_tenant_users:growth1d{_NAMED}")),
                Panel(
                    "Nearest to their storage limit",
                    top(
                        f"max by (tenant) (mis_tenant_storage_bytes{_NAMED}) "
                        "/ max by (tenant) (mis_tenant_storage_limit_bytes)"
                    ),
                    unit="percentunit",
                    warn=0.8,
                    bad=1,
                ),
            ),
        ),
    ),
)
