"""Every statement about alerts in a tenant's own transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from mis_http.pages import Page
from mis_models.alerts import AlertRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession, tenant_of
from tenant_service.alerts.causes import AlertKind, AlertStatus, Cause
from tenant_service.alerts.filters import AlertFilter

# Whoever was told that something is wrong waits to hear that it is well again. A limit or an incident that is
# over is nothing to act on.
WORTH_AN_ALL_CLEAR: Final = frozenset({AlertKind.HEALTH, AlertKind.BILLING})


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
        .values(
            status=AlertStatus.RESOLVED.value,
            resolved_at=now,
            is_news=True if kind in WORTH_AN_ALL_CLEAR else AlertRow.is_news,
        )
        .returning(AlertRow)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return (await session.scalars(ended)).all()


async def page_of(session: TenantSession, asked: AlertFilter, page: Page) -> Sequence[AlertRow]:
    """Return the page's alerts, and one more where there is more."""
    found = select(AlertRow)
    if asked.status is not None:
        found = found.where(AlertRow.status == asked.status.value)
    if asked.kind is not None:
        found = found.where(AlertRow.kind == asked.kind.value)
    return (await session.scalars(page.apply(found, AlertRow.id))).all()  # type: ignore[arg-type]  # the mapped column is the column


async def lock(session: TenantSession, alert_id: UUID) -> AlertRow | None:
    """Return the alert, which nobody else changes until the transaction ends; None where there is none."""
    found: AlertRow | None = await session.scalar(
        select(AlertRow).where(AlertRow.id == alert_id).with_for_update()
    )
    return found
