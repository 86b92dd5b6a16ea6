"""What one tenant asks, holds and runs into; it is chosen by its slug."""

from typing import Final

from layout import Dashboard
from panels import DATASOURCE, Panel, Query, now

_CHOSEN: Final = '{tenant="$tenant"}'


def _used(held: str, limit: str) -> str:
    """Return how much of a limit is used; nothing where the tenant has none."""
    return f"max(mis_tenant_{held}{_CHOSEN}) / max(mis_tenant_{limit}{_CHOSEN})"


_STANDING: Final = (
    now("Requests a second", f"tenant:mis_tenant_requests:rate5m{_CHOSEN}", "reqps", width=6, quiet="none"),
    now(
        "Share of all requests",
        f"sum(tenant:mis_tenant_requests:rate5m{_CHOSEN}) / sum(tenant:mis_tenant_requests:rate5m)",
        "percentunit",
        width=6,
        quiet="none",
        warn=0.5,
    ),
    now(
        "Of its users' limit",
        _used("users", "users_limit"),
        "percentunit",
        width=6,
        quiet="none known",
        warn=0.8,
        bad=1,
    ),
    now(
        "Of its storage limit",
        _used("storage_bytes", "storage_limit_bytes"),
        "percentunit",
        width=6,
        quiet="none known",
        warn=0.8,
        bad=1,
    ),
    Panel(
        "Who",
        (Query(f"tenant:mis_tenant_info:one{_CHOSEN}"),),
        "table",
        width=12,
        height=5,
        quiet="This tenant has no name here any more: others are busier.",
        columns=(("slug", "Slug"), ("plan", "Plan"), ("status", "Status"), ("tenant", "Id")),
    ),
    Panel(
        "Probes in the tenant's own context",
        (Query(f"min by (check) (mis_tenant_check_passed{_CHOSEN})", "{{check}}"),),
        "state-timeline",
        width=12,
        height=5,
        quiet="It has not been probed within ten minutes; only active tenants are.",
    ),
)
_REQUESTS: Final = (
    Panel(
        "By status",
        (Query(f"sum by (status) (rate(mis_tenant_requests_total{_CHOSEN}[5m]))", "{{status}}"),),
        unit="reqps",
        stacked=True,
        quiet="It has asked for nothing.",
        colors={"2xx": "green", "3xx": "blue", "4xx": "yellow", "5xx": "red"},
    ),
    Panel(
        "Failed (5xx)",
        (Query(f"tenant:mis_tenant_requests_failed:ratio5m{_CHOSEN}", "failed"),),
        unit="percentunit",
        help="MisTenantFails fires above one in twenty.",
        quiet="It has asked for nothing.",
        bad=0.05,
        ceiling=0.06,
    ),
    Panel(
        "Slowest of twenty (p95)",
        (
            Query(f"tenant:mis_tenant_request_duration_seconds:p95_5m{_CHOSEN}", "this tenant"),
            Query("quantile(0.5, tenant:mis_tenant_request_duration_seconds:p95_5m)", "the middle one"),
        ),
        unit="s",
        help="Beside the tenant of whom as many are slower as are faster.",
        dashed=("the middle one",),
    ),
    Panel(
        "By service",
        (Query(f"sum by (service) (rate(mis_tenant_requests_total{_CHOSEN}[5m]))", "{{service}}"),),
        unit="reqps",
        stacked=True,
        quiet="It has asked for nothing.",
    ),
    Panel(
        "Over its limits (429)",
        (Query(f"tenant:mis_tenant_rejections:rate5m{_CHOSEN}", "rejected"),),
        unit="reqps",
        quiet="It has asked for nothing.",
        ceiling=1,
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
        quiet="It has used none yet.",
    ),
)
_HELD: Final = (
    Panel("Users", (Query(f"tenant:mis_tenant_users:max{_CHOSEN}", "users"),)),
    Panel("Storage", (Query(f"tenant:mis_tenant_storage_bytes:max{_CHOSEN}", "stored"),), unit="bytes"),
    now("Users added in a day", f"tenant:mis_tenant_users:growth1d{_CHOSEN}", quiet="too early"),
    now("Stored in a day", f"tenant:mis_tenant_storage_bytes:growth1d{_CHOSEN}", "bytes", quiet="too early"),
)
TENANT: Final = Dashboard(
    "mis-tenant",
    "One tenant",
    "What one tenant asks, holds and runs into. Only the busiest have series (MIS_METRICS_TENANTS).",
    (("Standing", _STANDING), ("Requests", _REQUESTS), ("What it holds", _HELD)),
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
