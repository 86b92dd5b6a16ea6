"""Whether tenants are kept apart, and whether somebody tries to get across."""

from typing import Final

from layout import TO_TENANT_OF_ROW, Dashboard
from panels import Panel, Query, called

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
                    (
                        Query("sum(increase(mis_tenant_mismatches_total[10m]))", "in ten minutes"),
                        Query(
                            "sum by (service) (increase(mis_tenant_mismatches_total[10m])) > 0",
                            "of these at {{service}}",
                        ),
                    ),
                    help="Each was refused. MisTenantMismatches fires above 20 in ten minutes.",
                    bad=20,
                    ceiling=24,
                ),
                Panel(
                    "Refusals about the tenant",
                    (
                        Query(
                            'sum by (code) (rate(mis_refusals_total{code=~"tenant_.*|act_as_required|'
                            'token_.*|permission_denied"}[5m])) > 0',
                            "{{code}}",
                        ),
                    ),
                    unit="reqps",
                    quiet="Nobody is refused.",
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
                    help="MisProbesFail fires above one in twenty. "
                    "The check `database` fails, too, where another tenant's rows are visible.",
                    bad=0.05,
                    ceiling=0.06,
                ),
                Panel(
                    "Whose checks fail now",
                    (Query(called("min by (tenant, check) (mis_tenant_check_passed) == 0")),),
                    "table",
                    help="Of the tenants that have series of their own (MIS_METRICS_TENANTS).",
                    quiet="None that is known of.",
                    columns=(("slug", "Tenant"), ("check", "Check"), ("tenant", "Id")),
                    leads=TO_TENANT_OF_ROW,
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
                    ceiling=1.2,
                ),
                Panel(
                    "Limits decided without Redis",
                    (Query("sum by (service) (rate(mis_limiter_local_decisions_total[5m]))", "{{service}}"),),
                    unit="reqps",
                    help="MisLimitsAreLocal fires where it does not end within two minutes.",
                    ceiling=1,
                ),
                Panel(
                    "Audit records on disks, not in Postgres",
                    (Query("mis_audit_pending_records", "{{service}} {{instance}}"),),
                    help="MisAuditWaits fires above 10,000.",
                    bad=10_000,
                ),
            ),
        ),
    ),
)
