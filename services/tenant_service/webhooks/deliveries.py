"""The rules of what is sent to a webhook on somebody's request: again, or just to say hello."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from mis_http.pages import Page
from mis_models.webhooks import DeliveryRow, WebhookRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tracing import current_traceparent
from tenant_service.trail import Caller
from tenant_service.webhooks import lanes_repository as lanes
from tenant_service.webhooks import repository
from tenant_service.webhooks.errors import DeliveryNotFound, WebhookDisabled
from tenant_service.webhooks.messages import PING, envelope
from tenant_service.webhooks.service import found, locked


class Deliveries:
    """The deliveries to one webhook of the session's tenant, as `caller` may see and add to them.

    Each method raises WebhookNotFound where the tenant has no such webhook.
    """

    def __init__(self, session: TenantSession, webhook_id: UUID, caller: Caller) -> None:
        self._session = session
        self._webhook_id = webhook_id
        self._caller = caller

    async def page(self, asked: Page, status: str | None) -> Sequence[DeliveryRow]:
        """Return a page of deliveries, and one more where there is more."""
        webhook = await found(self._session, self._webhook_id)
        return await repository.page_of_deliveries(self._session, webhook.id, asked, status)

    async def replay(self, delivery_id: UUID) -> DeliveryRow:
        """Send a delivery again, now and under its old id, as if it had never been tried.

        Raise DeliveryNotFound or WebhookDisabled.
        """
        webhook = await locked(self._session, self._webhook_id)
        delivery = await repository.find_delivery(self._session, webhook.id, delivery_id)
        if delivery is None:
            raise DeliveryNotFound
        _require_active(webhook)
        delivery.status, delivery.attempts, delivery.next_attempt_at = "pending", 0, datetime.now(UTC)
        delivery.traceparent = current_traceparent()
        await self._queued(webhook, "webhook.replayed", delivery)
        return delivery

    async def ping(self) -> DeliveryRow:
        """Queue a message that only says hello; raise WebhookDisabled."""
        webhook = await locked(self._session, self._webhook_id)
        _require_active(webhook)
        now = datetime.now(UTC)
        delivery = DeliveryRow(
            id=new_id(),
            webhook_id=webhook.id,
            type=PING,
            body=envelope(PING, now, tenant_of(self._session), {"webhookId": str(webhook.id)}),
            status="pending",
            attempts=0,
            next_attempt_at=now,
            created_at=now,
            traceparent=current_traceparent(),
        )
        self._session.add(delivery)
        await self._queued(webhook, "webhook.pinged", delivery)
        return delivery

    async def _queued(self, webhook: WebhookRow, action: str, delivery: DeliveryRow) -> None:
        await lanes.settle(self._session, webhook)
        self._caller.record(
            self._session,
            action,
            resource=f"webhooks/{webhook.id}",
            changes={"delivery": {"old": None, "new": str(delivery.id)}},
        )


def _require_active(webhook: WebhookRow) -> None:
    if webhook.status != "active":
        raise WebhookDisabled
