"""Opens and ends alerts in the transaction of their cause; whoever comes second changes nothing.

The session is bound to the tenant, as `mis_app` or as `mis_platform`, except where many tenants' alerts are
opened and ended together: that is the platform's own work, and takes a few statements for all of them.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from mis_jobs.jobs import enqueue, enqueue_for_each
from mis_jobs.outbox import EventType, publish, publish_for_each
from mis_models.alerts import AlertRow
from mis_tenancy.session import PlatformSession, TenantSession, tenant_of
from tenant_service.alerts import repository
from tenant_service.alerts.causes import AlertKind, Cause, Changes

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


async def carry_out(session: PlatformSession, due: Mapping[UUID, Sequence[Changes]]) -> None:
    """End and open the alerts of many tenants, with all that commits with each."""
    now = datetime.now(UTC)
    changes = [(tenant_id, one) for tenant_id in sorted(due) for one in due[tenant_id]]
    ended = await repository.end_many(
        session, [(tenant_id, alert.id) for tenant_id, one in changes for alert in one.ending], now
    )
    opened = await repository.open_many(
        session, [(tenant_id, cause) for tenant_id, one in changes for cause in one.opening], now
    )
    for event, alerts in ((EventType.ALERT_RESOLVED, ended), (EventType.ALERT_OPENED, opened)):
        await publish_for_each(session, event, ((alert.tenant_id, _shown(alert)) for alert in alerts))
    await enqueue_for_each(
        session, NOTICE, {}, {alert.tenant_id for alert in (*ended, *opened) if alert.is_news}
    )


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
