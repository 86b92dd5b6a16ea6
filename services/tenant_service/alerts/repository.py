"""Every statement about alerts in a tenant's own transaction."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert

from mis_models.alerts import AlertRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession, tenant_of
from tenant_service.alerts.causes import AlertKind, AlertStatus, Cause


async def open_one(session: TenantSession, cause: Cause, now: datetime) -> AlertRow | None:
    """Add the alert and return it, or None where another one stands for it."""
    row = {
        "tenant_id": tenant_of(session),
        "id": new_id(),
        "kind": cause.kind.value,
        "subject": cause.subject,
        "threshold": cause.threshold,
        "period": cause.period,
        "severity": cause.severity.value,
        "message": cause.message,
        "status": AlertStatus.OPEN.value,
        "opened_at": now,
    }
    # Without a conflict target, either of the two unique indexes may say that there is one.
    added: AlertRow | None = await session.scalar(
        insert(AlertRow).values(row).on_conflict_do_nothing().returning(AlertRow)
    )
    return added


async def end(
    session: TenantSession,
    now: datetime,
    kind: AlertKind,
    *,
    subject: str,
    threshold: int | None = None,
    period: str | None = None,
) -> Sequence[AlertRow]:
    """End the alerts about the subject that have not ended, and return them."""
    meant = [
        AlertRow.kind == kind.value,
        AlertRow.subject == subject,
        AlertRow.status != AlertStatus.RESOLVED.value,
    ]
    if threshold is not None:
        meant.append(AlertRow.threshold == threshold)
    if period is not None:
        meant.append(AlertRow.period == period)
    ended = (
        update(AlertRow)
        .where(*meant)
        .values(status=AlertStatus.RESOLVED.value, resolved_at=now)
        .returning(AlertRow)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return (await session.scalars(ended)).all()
