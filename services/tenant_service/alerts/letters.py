"""What mails say of alerts; the templates beside this module say it."""

from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from mis_models.alerts import AlertRow
from tenant_service.alerts.causes import AlertStatus

TEMPLATES: Final = Path(__file__).parent / "templates"


def shown(alert: AlertRow) -> dict[str, Any]:
    """Return what a mail shows of an alert."""
    return {
        "severity": alert.severity,
        "message": alert.message,
        "has_ended": alert.status == AlertStatus.RESOLVED.value,
        "opened": f"{alert.opened_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
    }


def headline(news: Sequence[AlertRow]) -> str:
    """Return what a mail about the alerts is called."""
    if len(news) > 1:
        return f"{len(news)} alerts"
    alert = news[0]
    at = "" if alert.threshold is None else f" at {alert.threshold} %"
    ended = " has ended" if alert.status == AlertStatus.RESOLVED.value else ""
    return f"{alert.kind} alert, {alert.subject.replace('_', ' ')}{at}{ended}"
