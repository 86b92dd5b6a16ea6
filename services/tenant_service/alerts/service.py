"""What a tenant's people do with its alerts: read them, and say that they have seen one."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from mis_http.pages import Page
from mis_models.alerts import AlertRow
from mis_tenancy.session import TenantSession
from tenant_service.alerts import repository
from tenant_service.alerts.causes import AlertStatus
from tenant_service.alerts.errors import AlertNotFound, AlertResolved
from tenant_service.alerts.filters import AlertFilter
from tenant_service.trail import Caller


async def read(session: TenantSession, asked: AlertFilter, page: Page) -> Sequence[AlertRow]:
    """Return a page of the tenant's alerts, and one more where there is more."""
    return await repository.page_of(session, asked, page)


async def acknowledge(session: TenantSession, alert_id: UUID, caller: Caller) -> AlertRow:
    """Note that somebody has seen the alert and return it; seen again, it stays the first one's.

    Raise AlertNotFound or AlertResolved.
    """
    alert = await repository.lock(session, alert_id)
    if alert is None:
        raise AlertNotFound
    if alert.status == AlertStatus.RESOLVED.value:
        raise AlertResolved
    if alert.status == AlertStatus.OPEN.value:
        alert.status = AlertStatus.ACKNOWLEDGED.value
        alert.acknowledged_at, alert.acknowledged_by = datetime.now(UTC), caller.id
        changes = {"status": {"old": AlertStatus.OPEN.value, "new": alert.status}}
        caller.record(session, "alert.acknowledged", resource=f"alerts/{alert.id}", changes=changes)
    return alert
