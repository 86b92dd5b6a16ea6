"""Whether tenants are kept apart, and whether somebody tries to get across."""

from typing import Final

from panels import Dashboard, Panel, Query

ISOLATION: Final = Dashboard(
    "mis-isolation",
    "Isolation",
    "Whether tenants are kept apart, and whether somebody tries to get across.",
    (
        (
            "Attempts",
            (
                Panel(
                    "Tokens used against other tenants",
                    (Query("sum by (service) (increase(mis_tenant_mismatches_total[10m]))", "{{service}}"),),
                    help="Each was refused. MisTenantMismatches fires above 20 in ten minutes.",
                    bad=20,
                ),
                Panel(
                    "Refusals about the tenant",
                    (
                        Query(
                            'sum by (code) (rate(mis_refusals_total{code=~"tenant_.*|act_as_required|'
                            'token_.*|permission_denied"}[5m]))',
                            "{{code}}",
                        ),
                    ),
                    unit="reqps",
                ),
                Panel(
                    "Tenants' security alerts",
                    (
                        Query(
                            'sum by (event) (increase(mis_alerts_total{kind="security"}[1h]))',
                            "{{event}} in an hour",
                        ),
                        Query('sum(max by (severity) (mis_alerts_open{kind="security"}))', "not ended"),
                    ),
                ),
            ),
        ),
        (
            "Walls",
            (
                Panel(
                    "Probes that fail in tenants' own contexts",
                    (Query("check:mis_tenant_probes_failed:ratio5m", "{{check}}"),),
                    unit="percentunit",
                    help="The check `database` fails, too, where another tenant's rows are visible.",
                    bad=0.05,
                ),
                Panel(
                    "Time of probes (p95)",
                    (
                        Query(
                            "histogram_quantile(0.95, sum by (check, le) "
                            "(rate(mis_tenant_probe_duration_seconds_bucket[5m])))",
                            "{{check}}",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    "Age of what is known of revocations",
                    (
                        Query(
                            "max by (service, instance) (mis_revocation_feed_lag_seconds)",
                            "{{service}} {{instance}}",
                        ),
                    ),
                    unit="s",
                    help="Above one second a process asks Postgres for each request, or refuses.",
                    bad=1,
                ),
                Panel(
                    "Limits decided without Redis",
                    (Query("sum by (service) (rate(mis_limiter_local_decisions_total[5m]))", "{{service}}"),),
                    unit="reqps",
                ),
                Panel(
                    "Audit records on disks, not in Postgres",
                    (Query("mis_audit_pending_records", "{{service}} {{instance}}"),),
                    bad=10_000,
                ),
                Panel(
                    "Alerts that fire",
                    (
                        Query(
                            'sum by (alertname) (ALERTS{alertname=~"Mis.*", alertstate="firing"})',
                            "{{alertname}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
