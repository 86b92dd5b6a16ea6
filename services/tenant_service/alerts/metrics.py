"""How many alerts are opened, by kind, as the events that tell of them go by.

Alerts are opened by several processes, and each event of theirs is passed on once, by one worker.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

from mis_jobs.outbox import EventType
from mis_models.work import OutboxRow
from tenant_service.alerts.causes import AlertKind

_EVENTS: Final = {EventType.ALERT_OPENED: "opened", EventType.ALERT_RESOLVED: "resolved"}


class AlertMetrics:
    """The metrics of one worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        alerts = Counter("mis_alerts", "Alerts of all tenants.", ["kind", "event"], registry=registry)
        # Shown from the start, so that the first alert of a kind is a rise.
        self._counted = {
            (kind.value, event.value): alerts.labels(kind.value, word)
            for kind in AlertKind
            for event, word in _EVENTS.items()
        }

    def hear(self, event: OutboxRow) -> None:
        """Count an event that was passed on, if it tells of an alert."""
        counted = self._counted.get((str(event.data.get("kind")), event.type))
        if counted is not None:
            counted.inc()
