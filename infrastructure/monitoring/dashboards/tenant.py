"""What one tenant asks, holds and runs into; it is chosen by its slug."""

from typing import Final

from panels import DATASOURCE, Dashboard, Panel, Query, now

_CHOSEN: Final = '{tenant="$tenant"}'
TENANT: Final = Dashboard(
    "mis-tenant",
    "One tenant",
    "What one tenant asks, holds and runs into. Only the busiest have series (MIS_METRICS_TENANTS).",
    (
        (
            "Standing",
            (
                Panel(
                    "Who",
                    (Query(f"tenant:mis_tenant_info:one{_CHOSEN}"),),
                    "table",
                    width=8,
                    height=4,
                ),
                now("Requests a second", f"tenant:mis_tenant_requests:rate5m{_CHOSEN}", "reqps"),
                now(
                    "Share of all requests",
                    f"sum(tenant:mis_tenant_requests:rate5m{_CHOSEN}) "
                    "/ sum(tenant:mis_tenant_requests:rate5m)",
                    "percentunit",
                    warn=0.5,
                ),
                now("Users added in a day", f"tenant:mis_tenant_users:growth1d{_CHOSEN}"),
                now("Stored in a day", f"tenant:mis_tenant_storage_bytes:growth1d{_CHOSEN}", "bytes"),
                Panel(
                    "Probes in the tenant's own context",
                    (Query(f"min by (check) (mis_tenant_check_passed{_CHOSEN})", "{{check}}"),),
                    "state-timeline",
                    width=24,
                    height=5,
                ),
            ),
        ),
        (
            "Requests",
            (
                Panel(
                    "By status",
                    (Query(f"sum by (status) (rate(mis_tenant_requests_total{_CHOSEN}[5m]))", "{{status}}"),),
                    unit="reqps",
                    stacked=True,
                ),
                Panel(
                    "Failed (5xx)",
                    (Query(f"tenant:mis_tenant_requests_failed:ratio5m{_CHOSEN}", "failed"),),
                    unit="percentunit",
                    bad=0.05,
                ),
                Panel(
                    "Slowest of twenty (p95)",
                    (
                        Query(f"tenant:mis_tenant_request_duration_seconds:p95_5m{_CHOSEN}", "this tenant"),
                        Query('tenant:mis_tenant_request_duration_seconds:p95_5m{tenant="other"}', "others"),
                    ),
                    unit="s",
                ),
                Panel(
                    "By service",
                    (
                        Query(
                            f"sum by (service) (rate(mis_tenant_requests_total{_CHOSEN}[5m]))", "{{service}}"
                        ),
                    ),
                    unit="reqps",
                ),
                Panel(
                    "Over its limits (429)",
                    (Query(f"tenant:mis_tenant_rejections:rate5m{_CHOSEN}", "rejected"),),
                    unit="reqps",
                ),
                Panel(
                    "Features used",
                    (
                        Query(
                            f"sum by (feature) (rate(mis_tenant_feature_uses_total{_CHOSEN}[5m]))",
                            "{{feature}}",
                        ),
                    ),
                    unit="reqps",
                ),
            ),
        ),
        (
            "What it holds",
            (
                Panel(
                    "Users",
                    (
                        Query(f"tenant:mis_tenant_users:max{_CHOSEN}", "users"),
                        Query(f"max by (tenant) (mis_tenant_users_limit{_CHOSEN})", "limit"),
                    ),
                    width=12,
                ),
                Panel(
                    "Storage",
                    (
                        Query(f"tenant:mis_tenant_storage_bytes:max{_CHOSEN}", "stored"),
                        Query(f"max by (tenant) (mis_tenant_storage_limit_bytes{_CHOSEN})", "limit"),
                    ),
                    unit="bytes",
                    width=12,
                ),
            ),
        ),
    ),
    (
        {
            "name": "tenant",
            "type": "query",
            "label": "Tenant",
            "datasource": DATASOURCE,
            "definition": "query_result(tenant:mis_tenant_info:one)",
            "query": {"query": "query_result(tenant:mis_tenant_info:one)", "refId": "tenant", "qryType": 3},
            # Chosen by slug, asked by id.
            "regex": '/slug="(?<text>[^"]+)".*tenant="(?<value>[^"]+)"/',
            "refresh": 2,
            "sort": 1,
            "multi": False,
            "includeAll": False,
        },
    ),
)
