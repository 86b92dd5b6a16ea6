"""Alerts about webhooks: one when a receiver is given up, ended once the webhook is enabled or deleted."""

from typing import Final

from mis_models.webhooks import WebhookRow
from mis_tenancy.session import TenantSession
from tenant_service.alerts.book import open_alert, resolve_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tenant_service.webhooks.attempts import GONE

_GONE: Final = "its receiver says that nobody wants messages there any more (410)"
_FAILING: Final = "nothing has got through to it for three days"


async def tell_of_end(session: TenantSession, webhook: WebhookRow) -> None:
    """Open the alert about a webhook that was disabled by itself."""
    why = _GONE if webhook.disabled_reason == GONE else _FAILING
    message = (
        f"The webhook {webhook.id} is disabled, because {why}. Events are not kept for it meanwhile. Mend "
        "the receiver and enable the webhook again, or delete it."
    )
    await open_alert(session, Cause(AlertKind.WEBHOOK, str(webhook.id), Severity.WARNING, message))


async def end_alarm(session: TenantSession, webhook: WebhookRow) -> None:
    """End the alert about the webhook, if there is one."""
    await resolve_alert(session, AlertKind.WEBHOOK, str(webhook.id))
