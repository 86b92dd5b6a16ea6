"""A webhook's turn: its due deliveries one after the other, in order, by the worker that leases its lane.

Requests run between transactions, never inside one. What came of a few is written down together with taking
the next few, and that prolongs the lease. A worker that is killed in between leaves deliveries that are still
pending, and when the lease has run out a successor sends them again under the same ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from mis_models.webhooks import WebhookRow
from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.encryption import TenantKeys, Undecryptable
from mis_tenancy.session import TenantSession
from tenant_service.webhooks import lanes_repository as lanes
from tenant_service.webhooks import repository
from tenant_service.webhooks.alarms import tell_of_end
from tenant_service.webhooks.attempts import note
from tenant_service.webhooks.lanes_repository import Lane
from tenant_service.webhooks.schedule import Outcome
from tenant_service.webhooks.secrets import WebhookSecrets

BATCH: Final = 20


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery that is about to be sent; `cause` is where what it tells of stands in a trace."""

    delivery_id: UUID
    body: bytes
    type: str
    attempt: int
    cause: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be sent to a webhook, in order; `secrets` are those in force, none if they do not open."""

    url: str
    secrets: tuple[bytes, ...]
    parcels: tuple[Parcel, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a parcel, and when."""

    parcel: Parcel
    outcome: Outcome
    at: datetime


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

    async def first(self) -> Batch | None:
        """Return what is to be sent first; with None the turn is over."""
        async with self._application.transaction(self._lane.tenant_id) as session:
            webhook = await self._held(session)
            return None if webhook is None else await self._take(session, webhook)

    async def next(self, sent: Sequence[Sent], *, is_over: bool) -> Batch | None:
        """Write down what came of what was sent, and return what is next; with None the turn is over."""
        async with self._application.transaction(self._lane.tenant_id) as session:
            webhook = await self._held(session)
            if webhook is None:
                # The webhook is gone, or a successor has its lane and sends these again.
                return None
            await _write_down(session, webhook, sent)
            pause = sent[-1].outcome.asked_pause(sent[-1].at)
            if is_over or pause is not None:
                await self._end(session, webhook, pause)
                return None
            return await self._take(session, webhook)

    async def _held(self, session: TenantSession) -> WebhookRow | None:
        held = await lanes.hold_leased(session, self._lane.webhook_id, self._worker, self._lease)
        return await repository.find(session, self._lane.webhook_id) if held else None

    async def _take(self, session: TenantSession, webhook: WebhookRow) -> Batch | None:
        due = await repository.next_due(session, webhook.id, BATCH) if webhook.status == "active" else ()
        if not due:
            await self._end(session, webhook)
            return None
        parcels = tuple(
            Parcel(row.id, row.body.encode(), row.type, row.attempts + 1, row.traceparent) for row in due
        )
        return Batch(webhook.url, await self._secrets(session, webhook), parcels)

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


async def _write_down(session: TenantSession, webhook: WebhookRow, sent: Sequence[Sent]) -> None:
    was = webhook.status
    rows = await repository.deliveries_of(session, [one.parcel.delivery_id for one in sent])
    for one in sent:
        if (delivery := rows.get(one.parcel.delivery_id)) is not None:
            note(webhook, delivery, one.outcome, one.at)
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
        await tell_of_end(session, webhook)
