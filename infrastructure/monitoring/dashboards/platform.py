"""Whether the suite serves, and what waits behind it."""

from typing import Final

from panels import Dashboard, Panel, Query, now

PLATFORM: Final = Dashboard(
    "mis-platform",
    "Platform",
    "Whether the suite serves, and what waits behind it.",
    (
        (
            "Now",
            (
                now("Processes that answer", 'sum(up{job="mis"})'),
                now("Processes that do not", 'count(up{job="mis"} == 0) or vector(0)', bad=1),
                now("Requests a second", "sum(service:mis_requests:rate5m)", "reqps"),
                now("Active tenants", 'sum(max by (plan) (mis_tenants{status="active"}))'),
                now("Users", "sum(tenant:mis_tenant_users:max)"),
                now("Stored", "sum(tenant:mis_tenant_storage_bytes:max)", "bytes"),
            ),
        ),
        (
            "Serving",
            (
                Panel("Requests", (Query("service:mis_requests:rate5m", "{{service}}"),), unit="reqps"),
                Panel(
                    "Failed (5xx)",
                    (Query("service:mis_requests_failed:ratio5m", "{{service}}"),),
                    unit="percentunit",
                    help="MisRequestsFail fires above one in a hundred.",
                    bad=0.01,
                ),
                Panel(
                    "Slowest of twenty (p95)",
                    (Query("service:mis_request_duration_seconds:p95_5m", "{{service}}"),),
                    unit="s",
                    bad=1,
                ),
                Panel(
                    "Slowest routes (p95)",
                    (
                        Query(
                            "topk(10, histogram_quantile(0.95, sum by (service, route, method, le) "
                            '(rate(mis_request_duration_seconds_bucket{route!~"/(healthz|readyz|metrics)"}[5m]))))',
                            "{{method}} {{route}}",
                        ),
                    ),
                    unit="s",
                    width=12,
                ),
                Panel(
                    "Refusals by code",
                    (Query("topk(10, sum by (code) (rate(mis_refusals_total[5m])))", "{{code}}"),),
                    unit="reqps",
                    width=12,
                ),
            ),
        ),
        (
            "Background",
            (
                Panel("Jobs", (Query("max by (state) (mis_jobs)", "{{state}}"),)),
                Panel(
                    "Longest wait of a due job",
                    (Query("max(mis_jobs_oldest_seconds)", "oldest"),),
                    unit="s",
                    bad=300,
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
                            "sum by (kind, le) (rate(mis_job_duration_seconds_bucket[15m]))))",
                            "{{kind}}",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    "Webhooks: attempts",
                    (
                        Query("sum by (outcome) (rate(mis_webhook_attempts_total[5m]))", "{{outcome}}"),
                        Query(
                            "histogram_quantile(0.95, sum by (le) "
                            "(rate(mis_webhook_attempt_duration_seconds_bucket[5m])))",
                            "seconds (p95)",
                        ),
                    ),
                ),
                Panel(
                    "Webhooks: waiting",
                    (
                        Query("max by (receiver) (mis_webhooks_pending)", "receivers {{receiver}}"),
                        Query("max(mis_webhooks_oldest_seconds)", "oldest, seconds"),
                    ),
                ),
            ),
        ),
        (
            "Tenants",
            (
                Panel(
                    "Tenants by plan",
                    (Query("sum by (plan) (max by (plan, status) (mis_tenants))", "{{plan}}"),),
                ),
                Panel(
                    "Tenants that are not active",
                    (
                        Query(
                            'sum by (status) (max by (plan, status) (mis_tenants{status!="active"}))',
                            "{{status}}",
                        ),
                    ),
                ),
                Panel(
                    "Tenants' open alerts",
                    (Query("max by (kind, severity) (mis_alerts_open)", "{{kind}}, {{severity}}"),),
                ),
                Panel(
                    "Features used",
                    (Query("sum by (feature) (rate(mis_tenant_feature_uses_total[5m]))", "{{feature}}"),),
                    unit="reqps",
                ),
                Panel("Users over time", (Query("sum(tenant:mis_tenant_users:max)", "users"),)),
                Panel(
                    "Stored over time",
                    (Query("sum(tenant:mis_tenant_storage_bytes:max)", "bytes"),),
                    unit="bytes",
                ),
            ),
        ),
    ),
)
