"""What operations watch of webhooks: what became of attempts, how long they took, and what waits."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tenant_service.webhooks.lanes_repository import Standing
from tenant_service.webhooks.schedule import Outcome

_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)


class WebhookMetrics:
    """The metrics of one worker; outcomes are words of ours, and no tenant has a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "mis_webhook_attempts",
            "Attempts to deliver, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "mis_webhook_attempt_duration_seconds",
            "Time that an attempt to deliver took.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._pending = Gauge(
            "mis_webhooks_pending",
            "Webhooks of all tenants that something waits to be sent to, by how the last attempt went.",
            ["receiver"],
            registry=registry,
        )
        self._oldest = Gauge(
            "mis_webhooks_oldest_seconds", "For how long the oldest due delivery waits.", registry=registry
        )

    def attempted(self, outcome: Outcome, seconds: float) -> None:
        """Count an attempt."""
        self._attempts.labels(outcome.word).inc()
        self._seconds.observe(seconds)

    def stands(self, standing: Standing) -> None:
        """Show how much waits."""
        self._pending.labels("failing").set(standing.failing)
        self._pending.labels("well").set(standing.pending - standing.failing)
        self._oldest.set(standing.oldest)
