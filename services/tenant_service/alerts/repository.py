"""Every statement about alerts in a tenant's own transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, any_, bindparam, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.sql.dml import ReturningUpdate

from mis_http.pages import Page
from mis_models.alerts import AlertRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import PlatformSession, TenantSession, tenant_of
from tenant_service.alerts.causes import AlertKind, AlertStatus, Cause
from tenant_service.alerts.filters import AlertFilter

# Whoever was told that something is wrong waits to hear that it is well again. A limit or an incident that is
# over is nothing to act on.
WORTH_AN_ALL_CLEAR: Final = frozenset({AlertKind.HEALTH, AlertKind.BILLING})
# Without a conflict target, either of the two unique indexes may say that there is one.
_OPEN: Final = insert(AlertRow).on_conflict_do_nothing().returning(AlertRow)
_IDS: Final = ARRAY(PG_UUID(as_uuid=True))
_UNRESOLVED: Final = AlertRow.status != AlertStatus.RESOLVED.value


async def open_one(session: TenantSession, cause: Cause, now: datetime) -> AlertRow | None:
    """Add the alert and return it, or None where another one stands for it."""
    added: AlertRow | None = await session.scalar(_OPEN, _columns(tenant_of(session), cause, now))
    return added


async def open_many(
    session: PlatformSession, causes: Iterable[tuple[UUID, Cause]], now: datetime
) -> Sequence[AlertRow]:
    """Add an alert of each tenant for its cause, where no other one stands for it, and return those."""
    rows = [_columns(tenant_id, cause, now) for tenant_id, cause in causes]
    return (await session.scalars(_OPEN, rows)).all() if rows else []


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
        _UNRESOLVED,
    ]
    if threshold is not None:
        meant.append(AlertRow.threshold == threshold)
    if period is not None:
        meant.append(AlertRow.period == period)
    return (await session.scalars(_ended(now, *meant))).all()


async def end_many(
    session: PlatformSession, alerts: Iterable[tuple[UUID, UUID]], now: datetime
) -> Sequence[AlertRow]:
    """End those of the alerts, by tenant and id, that have not ended, and return them."""
    named = list(alerts)
    tenants = bindparam("tenants", [tenant_id for tenant_id, _ in named], type_=_IDS)
    ids = bindparam("ids", [alert_id for _, alert_id in named], type_=_IDS)
    meant = AlertRow.tenant_id == any_(tenants), AlertRow.id == any_(ids), _UNRESOLVED
    return (await session.scalars(_ended(now, *meant))).all()


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


def _columns(tenant_id: UUID, cause: Cause, now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
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


def _ended(now: datetime, *meant: ColumnElement[bool]) -> ReturningUpdate[Any]:
    """Return the statement that ends what is meant, and tells whoever waits for that."""
    all_clear = AlertRow.kind.in_([kind.value for kind in WORTH_AN_ALL_CLEAR])
    ending = update(AlertRow).where(*meant)
    ending = ending.values(
        status=AlertStatus.RESOLVED.value, resolved_at=now, is_news=or_(AlertRow.is_news, all_clear)
    )
    options = {"synchronize_session": False, "populate_existing": True}
    return ending.returning(AlertRow).execution_options(**options)
