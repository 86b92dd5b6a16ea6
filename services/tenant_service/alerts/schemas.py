"""Alerts on the wire."""

from typing import Literal, Self
from uuid import UUID

from pydantic import Field

from mis_http.schemas import Moment, ResponseBody
from mis_models.alerts import AlertRow
from mis_tenancy.plans import Feature
from mis_tenancy.tenant import Tenant
from tenant_service.alerts.causes import AlertKind, AlertStatus, Severity


class AlertOut(ResponseBody):
    """Something that the tenant's people should know of."""

    id: UUID
    kind: AlertKind
    subject: str = Field(description="What of the kind it is about, such as `users` or `past_due`.")
    severity: Severity
    threshold: int | None = Field(description="For limits, the percentage that was reached.")
    message: str
    status: AlertStatus
    priority: Literal["normal", "high"] = Field(description="`high` with the feature `priority_support`.")
    opened_at: Moment
    acknowledged_at: Moment | None
    acknowledged_by: UUID | None
    resolved_at: Moment | None

    @classmethod
    def of(cls, row: AlertRow, tenant: Tenant) -> Self:
        """Return the alert as it is shown; its priority follows what the tenant's plan includes now."""
        return cls(
            id=row.id,
            kind=AlertKind(row.kind),
            subject=row.subject,
            severity=Severity(row.severity),
            threshold=row.threshold,
            message=row.message,
            status=AlertStatus(row.status),
            priority="high" if tenant.has(Feature.PRIORITY_SUPPORT) else "normal",
            opened_at=row.opened_at,
            acknowledged_at=row.acknowledged_at,
            acknowledged_by=row.acknowledged_by,
            resolved_at=row.resolved_at,
        )
