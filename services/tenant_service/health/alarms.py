"""Alerts about a tenant's health: they come and go with its status, and never for one odd probe."""

from typing import Final

from mis_tenancy.session import TenantSession
from tenant_service.alerts.book import open_alert, resolve_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tenant_service.health.verdicts import Before, Probe, Verdict

_SEVERITY: Final = {Verdict.DEGRADED: Severity.WARNING, Verdict.UNHEALTHY: Severity.CRITICAL}


async def raise_or_end(session: TenantSession, before: Before | None, probe: Probe) -> None:
    """Bring the tenant's alerts into line with the probe's status.

    `before` is the probe before it, or None where that is too old to tell anything.
    """
    if before is None or before.status is not Verdict.HEALTHY:
        for bad in _SEVERITY:
            if probe.status is not bad:
                await resolve_alert(session, AlertKind.HEALTH, bad.value)
    # A status of a first probe stands on that one alone, so it needs the next one to agree.
    if before is not None and Verdict.HEALTHY not in (probe.status, probe.verdict, before.verdict):
        await open_alert(session, _cause(probe))


def _cause(probe: Probe) -> Cause:
    failing = ", ".join(name for name, check in probe.checks.items() if not check.passed)
    return Cause(
        kind=AlertKind.HEALTH,
        subject=probe.status.value,
        severity=_SEVERITY[probe.status],
        message=f"The platform is {probe.status.value} for this tenant. Failing: {failing}. The platform's "
        "staff is looking into it; the tenant's health tells how it stands.",
    )
