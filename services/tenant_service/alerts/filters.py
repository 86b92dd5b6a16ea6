"""What the list of alerts can be narrowed by."""

from dataclasses import dataclass

from tenant_service.alerts.causes import AlertKind, AlertStatus


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are asked for; None asks for all."""

    status: AlertStatus | None = None
    kind: AlertKind | None = None
