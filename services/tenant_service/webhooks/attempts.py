"""What an attempt changes: the delivery's state, and what is thought of its webhook."""

from datetime import datetime, timedelta
from typing import Final

from mis_models.webhooks import DeliveryRow, WebhookRow
from tenant_service.webhooks.schedule import HOPELESS_AFTER, Outcome, pause_after

REQUESTED: Final = "requested"
GONE: Final = "gone"
FAILING: Final = "failing"


def note(webhook: WebhookRow, delivery: DeliveryRow, outcome: Outcome, now: datetime) -> None:
    """Write down how the attempt ended; the webhook is disabled when its receiver is gone or hopeless."""
    delivery.attempts += 1
    delivery.last_attempt_at = now
    delivery.response_status, delivery.error = outcome.status, outcome.error
    delivery.next_attempt_at = None
    if outcome.is_success:
        delivery.status = "delivered"
        webhook.failing_since = None
        return
    webhook.failing_since = webhook.failing_since or now
    pause = pause_after(delivery.attempts)
    if outcome.is_gone or pause is None:
        delivery.status = "failed"
        _judge(webhook, outcome, now)
    else:
        delivery.next_attempt_at = now + max(pause, outcome.asked_pause(now) or timedelta(0))


def enable(webhook: WebhookRow) -> None:
    """Let things be sent to the webhook again, with nothing held against it."""
    webhook.status, webhook.disabled_reason, webhook.failing_since = "active", None, None


def disable(webhook: WebhookRow, reason: str) -> None:
    """Let nothing be sent to the webhook until somebody enables it again."""
    webhook.status, webhook.disabled_reason = "disabled", reason


def age(webhook: WebhookRow, now: datetime) -> None:
    """Give the webhook a new version."""
    webhook.version += 1
    webhook.updated_at = now


def _judge(webhook: WebhookRow, outcome: Outcome, now: datetime) -> None:
    hopeless = webhook.failing_since is not None and now - webhook.failing_since >= HOPELESS_AFTER
    if webhook.status == "active" and (outcome.is_gone or hopeless):
        disable(webhook, GONE if outcome.is_gone else FAILING)
        age(webhook, now)
