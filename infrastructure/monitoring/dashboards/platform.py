"""Whether the suite serves, and what waits behind it: what hurts first, why it does below."""

from typing import Final

from layout import Dashboard
from panels import Panel, Query, called, now

_FIRING: Final = 'ALERTS{alertname=~"Mis.*", alertstate="firing"}'
_IDLE: Final = "0 * service:mis_requests:rate5m"

_NOW: Final = (
    now(
        "Alerts that fire",
        'count(ALERTS{alertname=~"Mis.*", alertstate="firing", severity!="info"}) or vector(0)',
        help="Those that are only for information are listed, not counted.",
        bad=1,
    ),
    now("Processes that do not answer", 'count(up{job="mis"} == 0) or vector(0)', bad=1),
    now(
        "Failing now (5xx)",
        f"max(service:mis_requests_failed:ratio5m >= 0 or {_IDLE})",
        "percentunit",
        help="Of the service that fails most.",
        bad=0.01,
    ),
    now(
        "Slow now (p95)",
        "max(service:mis_request_duration_seconds:p95_5m >= 0)",
        "s",
        help="Of the slowest service: one in twenty of its requests takes longer.",
        quiet="idle",
        bad=1,
    ),
    now("Requests a second", "sum(service:mis_requests:rate5m)", "reqps"),
    now("Active tenants", 'sum(max by (plan) (mis_tenants{status="active"}))'),
    Panel(
        "What fires, and for how long",
        (Query(called(f"{_FIRING} * ignoring (alertstate) (time() - ALERTS_FOR_STATE)")),),
        "table",
        unit="s",
        width=12,
        height=6,
        help="docs/operations.md has a page for each alert.",
        quiet="No alert fires.",
        columns=(
            ("alertname", "Alert"),
            ("severity", "Severity"),
            ("process", "Process"),
            ("service", "Service"),
            ("check", "Check"),
            ("slug", "Tenant"),
            ("tenant", "Id"),
            ("Value", "For"),
        ),
    ),
    Panel(
        "Processes",
        (Query('min by (process, instance) (up{job="mis"})', "{{process}} {{instance}}"),),
        "state-timeline",
        width=12,
        height=6,
        help="MisProcessDown fires after a minute of silence. One that is gone altogether is not listed.",
        words=("silent", "answers"),
    ),
)
_SERVING: Final = (
    Panel("Requests", (Query("service:mis_requests:rate5m", "{{service}}"),), unit="reqps"),
    Panel(
        "Failed (5xx)",
        (Query("service:mis_requests_failed:ratio5m", "{{service}}"),),
        unit="percentunit",
        help="MisRequestsFail fires above one in a hundred.",
        bad=0.01,
        ceiling=0.02,
    ),
    Panel(
        "Slowest of twenty (p95)",
        (Query("service:mis_request_duration_seconds:p95_5m", "{{service}}"),),
        unit="s",
        help="MisRequestsSlow fires above a second.",
        bad=1,
    ),
    Panel(
        "Slowest routes (p95)",
        (
            Query(
                "topk(10, histogram_quantile(0.95, sum by (service, route, method, le) "
                '(rate(mis_request_duration_seconds_bucket{route!~"/(healthz|readyz|metrics)"}[5m]))) >= 0)',
                "{{method}} {{route}} ({{service}})",
            ),
        ),
        unit="s",
        width=12,
        height=9,
        ranked=500,
    ),
    Panel(
        "Failing routes (5xx)",
        (
            Query(
                "topk(10, sum by (service, route, method) "
                '(rate(mis_requests_total{status="5xx", route!~"/(healthz|readyz|metrics)"}[5m])) > 0)',
                "{{method}} {{route}} ({{service}})",
            ),
        ),
        unit="reqps",
        width=12,
        height=9,
        quiet="No route fails.",
        ranked=500,
    ),
    Panel(
        "Refusals by code",
        (Query("topk(10, sum by (code) (rate(mis_refusals_total[5m])) > 0)", "{{code}}"),),
        unit="reqps",
        width=12,
        quiet="Nobody is refused.",
        ranked=400,
    ),
    Panel(
        "Reads that a replica may answer",
        (Query("sum by (outcome) (rate(mis_replica_reads_total[5m]))", "{{outcome}}"),),
        unit="reqps",
        width=6,
        help="By the replica, or why the primary had to.",
        quiet="There is no replica.",
    ),
    Panel(
        "Redis' servers that are away",
        (Query('max by (service) (mis_redis_nodes{state="away"})', "says {{service}}"),),
        width=6,
        help="Their tenants' limits are decided without them: MisLimitsAreLocal.",
        bad=1,
        ceiling=1.2,
    ),
)
_BACKGROUND: Final = (
    Panel(
        "Jobs",
        (Query("max by (state) (mis_jobs)", "{{state}}"),),
        help="MisJobsDead fires where some were given up (dead).",
        colors={"dead": "red", "due": "yellow", "later": "blue", "running": "green"},
    ),
    Panel(
        "Longest wait of a due job",
        (Query("max(mis_jobs_oldest_seconds)", "oldest"),),
        unit="s",
        help="MisJobsWait fires above five minutes.",
        bad=300,
        ceiling=360,
    ),
    Panel(
        "Runs by outcome",
        (Query("sum by (outcome) (rate(mis_job_runs_total[5m]))", "{{outcome}}"),),
        unit="ops",
    ),
    Panel(
        "Time of jobs (p95)",
        (
            Query(
                "topk(10, histogram_quantile(0.95, "
                "sum by (kind, le) (rate(mis_job_duration_seconds_bucket[15m]))) >= 0)",
                "{{kind}}",
            ),
        ),
        unit="s",
        width=12,
        ranked=400,
    ),
    Panel(
        "Webhooks: attempts",
        (Query("sum by (outcome) (rate(mis_webhook_attempts_total[5m]))", "{{outcome}}"),),
        unit="ops",
        width=12,
        quiet="Nothing has been sent yet.",
        colors={"delivered": "green"},
    ),
    Panel(
        "Webhooks: time of attempts (p95)",
        (
            Query(
                "histogram_quantile(0.95, sum by (le) "
                "(rate(mis_webhook_attempt_duration_seconds_bucket[5m])))",
                "p95",
            ),
        ),
        unit="s",
    ),
    Panel(
        "Webhooks: receivers that wait",
        (Query("max by (receiver) (mis_webhooks_pending)", "{{receiver}}"),),
        help="Those that failed at the last attempt, and those that are well.",
        colors={"failing": "red", "well": "green"},
    ),
    Panel(
        "Webhooks: longest wait of a due delivery",
        (Query("max(mis_webhooks_oldest_seconds)", "oldest"),),
        unit="s",
        help="MisWebhooksWait fires above ten minutes.",
        bad=600,
        ceiling=720,
    ),
)
_TENANTS: Final = (
    Panel(
        "Tenants by plan",
        (Query("sum by (plan) (max by (plan, status) (mis_tenants))", "{{plan}}"),),
        stacked=True,
    ),
    Panel(
        "Tenants that are not active",
        (
            Query(
                'sum by (status) (max by (plan, status) (mis_tenants{status!="active"})) '
                'or label_replace(0 * sum(mis_tenants), "status", "none", "", "")',
                "{{status}}",
            ),
        ),
        ceiling=5,
    ),
    Panel(
        "Tenants' open alerts",
        (Query("max by (kind, severity) (mis_alerts_open)", "{{kind}}, {{severity}}"),),
        quiet="None that is known of.",
    ),
    Panel(
        "Features used",
        (Query("sum by (feature) (rate(mis_tenant_feature_uses_total[5m]))", "{{feature}}"),),
        unit="reqps",
        quiet="No feature of a plan has been used yet.",
    ),
    Panel("Users", (Query("sum(tenant:mis_tenant_users:max)", "users"),)),
    Panel("Stored", (Query("sum(tenant:mis_tenant_storage_bytes:max)", "stored"),), unit="bytes"),
)
PLATFORM: Final = Dashboard(
    "mis-platform",
    "Platform",
    "Whether the suite serves, and what waits behind it.",
    (("Now", _NOW), ("Serving", _SERVING), ("Background", _BACKGROUND), ("Tenants", _TENANTS)),
)
