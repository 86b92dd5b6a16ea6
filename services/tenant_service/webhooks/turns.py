"""A webhook's turn: its due deliveries one after the other, in order, by the worker that leases its lane.

Requests run between transactions, never inside one. What came of one is written down together with taking the
next, and that prolongs the lease. A worker that is killed in between leaves a delivery that is still pending,
and when the lease has run out a successor sends it again under the same id.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from mis_models.webhooks import DeliveryRow, WebhookRow
from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.encryption import TenantKeys, Undecryptable
from mis_tenancy.session import TenantSession
from tenant_service.webhooks import lanes_repository as lanes
from tenant_service.webhooks import repository
from tenant_service.webhooks.attempts import note
from tenant_service.webhooks.lanes_repository import Lane
from tenant_service.webhooks.schedule import Outcome
from tenant_service.webhooks.secrets import WebhookSecrets


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery that is about to be sent; `secrets` are those in force, none where they do not open."""

    delivery_id: UUID
    url: str
    body: bytes
    secrets: tuple[bytes, ...]


class Turn:
    """The turn of one lane, leased to `worker`; `application` is the application role's database."""

    def __init__(
        self, application: Database, keys: TenantKeys, lane: Lane, worker: str, lease: timedelta
    ) -> None:
        self._application = application
        self._keys = keys
        self._lane = lane
        self._worker = worker
        self._lease = lease

    async def first(self) -> Parcel | None:
        """Return what is to be sent first; with None the turn is over."""
        async with self._application.transaction(self._lane.tenant_id) as session:
            webhook = await self._held(session)
            return None if webhook is None else await self._take(session, webhook)

    async def next(self, sent: Parcel, outcome: Outcome, *, is_over: bool) -> Parcel | None:
        """Write down what came of the parcel and return the next one; with None the turn is over."""
        now = datetime.now(UTC)
        async with self._application.transaction(self._lane.tenant_id) as session:
            webhook = await self._held(session)
            if webhook is None:
                # The webhook is gone, or a successor has its lane and sends this one again.
                return None
            delivery = await repository.find_delivery(session, webhook.id, sent.delivery_id)
            if delivery is not None:
                _write_down(session, webhook, delivery, outcome, now)
            pause = outcome.asked_pause(now)
            if is_over or pause is not None:
                await self._end(session, webhook, pause)
                return None
            return await self._take(session, webhook)

    async def _held(self, session: TenantSession) -> WebhookRow | None:
        held = await lanes.hold_leased(session, self._lane.webhook_id, self._worker, self._lease)
        return await repository.find(session, self._lane.webhook_id) if held else None

    async def _take(self, session: TenantSession, webhook: WebhookRow) -> Parcel | None:
        due = await repository.next_due(session, webhook.id) if webhook.status == "active" else None
        if due is None:
            await self._end(session, webhook)
            return None
        return Parcel(due.id, webhook.url, due.body.encode(), await self._secrets(session, webhook))

    async def _end(self, session: TenantSession, webhook: WebhookRow, pause: timedelta | None = None) -> None:
        await lanes.settle(session, webhook)
        await lanes.give_back(session, webhook.id, pause)

    async def _secrets(self, session: TenantSession, webhook: WebhookRow) -> tuple[bytes, ...]:
        sealed = [webhook.secret]
        until = webhook.previous_until
        if webhook.previous_secret is not None and until is not None and until > datetime.now(UTC):
            sealed.append(webhook.previous_secret)
        secrets = WebhookSecrets(session, self._keys)
        try:
            return tuple([await secrets.open(webhook.id, one) for one in sealed])
        except Undecryptable:
            return ()


def _write_down(
    session: TenantSession, webhook: WebhookRow, delivery: DeliveryRow, outcome: Outcome, now: datetime
) -> None:
    was = webhook.status
    note(webhook, delivery, outcome, now)
    if webhook.status != was:
        record_change(
            session,
            action="webhook.disabled",
            actor=None,
            actor_kind="system",
            resource=f"webhooks/{webhook.id}",
            changes={
                "status": {"old": was, "new": webhook.status},
                "disabled_reason": {"old": None, "new": webhook.disabled_reason},
            },
        )
