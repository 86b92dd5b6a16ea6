"""Opens and ends alerts in the transaction of their cause; whoever comes second changes nothing.

Every caller's session is bound to the tenant, as `mis_app` or as `mis_platform`.
"""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from mis_jobs.jobs import enqueue
from mis_jobs.outbox import EventType, publish
from mis_models.alerts import AlertRow
from mis_tenancy.session import TenantSession, tenant_of
from tenant_service.alerts import repository
from tenant_service.alerts.causes import AlertKind, Cause

# The job that writes to the tenant's people.
NOTICE: Final = "alert_notice"


async def open_alert(session: TenantSession, cause: Cause) -> UUID | None:
    """Open an alert and return its id, or None where one that has not ended, or of the period, stands for it.

    The event `alert.opened` and the mail about it commit with it.
    """
    alert = await repository.open_one(session, cause, datetime.now(UTC))
    if alert is None:
        return None
    publish(session, EventType.ALERT_OPENED, _shown(alert))
    await enqueue(session, NOTICE, {}, tenant_id=tenant_of(session))
    return alert.id


async def resolve_alert(
    session: TenantSession,
    kind: AlertKind,
    subject: str,
    *,
    threshold: int | None = None,
    period: str | None = None,
) -> int:
    """End what is open about the subject, and return how many alerts that were.

    `threshold` and `period` narrow it to theirs. The event `alert.resolved` commits with each.
    """
    ended = await repository.end(
        session, datetime.now(UTC), kind, subject=subject, threshold=threshold, period=period
    )
    for alert in ended:
        publish(session, EventType.ALERT_RESOLVED, _shown(alert))
    if any(alert.is_news for alert in ended):
        await enqueue(session, NOTICE, {}, tenant_id=tenant_of(session))
    return len(ended)


def _shown(alert: AlertRow) -> dict[str, Any]:
    return {
        "alertId": str(alert.id),
        "kind": alert.kind,
        "subject": alert.subject,
        "severity": alert.severity,
        "threshold": alert.threshold,
        "message": alert.message,
        "status": alert.status,
        "openedAt": _z(alert.opened_at),
        "resolvedAt": None if alert.resolved_at is None else _z(alert.resolved_at),
    }


def _z(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
