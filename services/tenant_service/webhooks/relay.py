"""Passes events on: what lies in the outbox becomes a delivery for each webhook that wants it.

Both happen in one transaction of the event's tenant, so an event is passed on exactly once, however many
workers there are and whenever one of them is killed. Tenants take turns, a batch each.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import structlog

from mis_jobs.outbox import CHANNEL
from mis_jobs.waking import Wakeup
from mis_models.work import OutboxRow
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.redis import Redis
from tenant_service.webhooks import relay_repository as repository
from tenant_service.webhooks.messages import envelope

_log = structlog.get_logger(__name__)

_PAUSE_SECONDS: Final = 0.5
_BATCH: Final = 100


class Relay:
    """Passes all tenants' events on; `platform` is the platform role's database.

    `heard_by` hears of each event once it is passed on.
    """

    def __init__(
        self,
        platform: Database,
        redis: Redis | None = None,
        *,
        batch: int = _BATCH,
        heard_by: Callable[[OutboxRow], None] = lambda _: None,
    ) -> None:
        self._platform = platform
        self._heard_by = heard_by
        self._wakeup = Wakeup(redis, CHANNEL, _PAUSE_SECONDS)
        self._batch = batch

    async def run(self) -> None:
        """Pass on what comes, until cancelled; several workers may."""
        await self._wakeup.start()
        while True:
            try:
                passed = await self.pass_on()
            except Exception as error:
                _log.warning("webhooks.relay_failed", error=repr(error))
                passed = 0
            if not passed:
                await self._wakeup.wait()

    async def pass_on(self) -> int:
        """Pass on a batch of each tenant that has events, and return how many events that were."""
        async with self._platform.platform_transaction() as session:
            tenants = await repository.tenants_with_events(session)
        passed = 0
        for tenant_id in tenants:
            try:
                passed += await self._of_tenant(tenant_id)
            except Exception as error:
                # One tenant's trouble is not the next one's.
                _log.warning("webhooks.relay_failed", tenant=str(tenant_id), error=repr(error))
        return passed

    async def _of_tenant(self, tenant_id: UUID) -> int:
        async with self._platform.transaction(tenant_id) as session:
            if not await repository.try_lock(session):
                return 0
            events = await repository.oldest_events(session, self._batch)
            rows = _deliveries(tenant_id, events, await repository.active_webhooks(session))
            if rows:
                there = await repository.make_due(session, sorted({row["webhook_id"] for row in rows}))
                rows = [row for row in rows if row["webhook_id"] in there]
            if rows:
                await repository.add_deliveries(session, rows)
            await repository.forget_events(session, events)
        for event in events:
            self._heard_by(event)
        return len(events)


def _deliveries(
    tenant_id: UUID, events: Sequence[OutboxRow], webhooks: Mapping[UUID, frozenset[str]]
) -> list[dict[str, Any]]:
    rows = [
        {"webhook_id": webhook_id, "type": event.type, "body": body, "traceparent": event.traceparent}
        for event in events
        for body in (envelope(event.type, event.occurred_at, tenant_id, event.data),)
        for webhook_id, wanted in webhooks.items()
        if event.type in wanted
    ]
    # Ids made within one millisecond are in no order; sorted, they are in that of the events.
    ids = sorted(new_id() for _ in rows)
    return [row | {"id": row_id} for row, row_id in zip(rows, ids, strict=True)]
