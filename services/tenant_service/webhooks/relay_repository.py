"""The statements that pass events on, as the platform's role.

Each tenant's events are passed on in a transaction that is bound to that tenant, so the policies, and not
this module, see to it that no webhook is given another tenant's event.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import case, delete, func, insert, select, text, update

from mis_models.webhooks import DeliveryRow, WebhookLaneRow, WebhookRow
from mis_models.work import OutboxRow
from mis_tenancy.session import PlatformSession, TenantSession, tenant_of, wake_after_commit
from tenant_service.webhooks.lanes_repository import CHANNEL

# Hops from tenant to tenant through the index, however many events each of them has.
_TENANTS: Final = text("""
with recursive waiting as (
    (select tenant_id from outbox order by tenant_id limit 1)
    union all
    select (select o.tenant_id from outbox o where o.tenant_id > w.tenant_id order by o.tenant_id limit 1)
      from waiting w where w.tenant_id is not null
)
select tenant_id from waiting where tenant_id is not null
""")
_UNSCOPED: Final = {"unscoped": True}
_NOW: Final = func.clock_timestamp()


async def tenants_with_events(session: PlatformSession) -> list[UUID]:
    """Return the tenants of whom something is to be told."""
    return list((await session.scalars(_TENANTS)).all())


async def try_lock(session: TenantSession) -> bool:
    """Return whether this transaction may pass the tenant's events on; one at a time keeps their order.

    It reads no table, so there is nothing to narrow to the tenant.
    """
    key = func.hashtextextended(f"webhooks:{tenant_of(session)}", 0)
    locked = await session.scalar(select(func.pg_try_advisory_xact_lock(key)), execution_options=_UNSCOPED)
    return bool(locked)


async def oldest_events(session: TenantSession, limit: int) -> Sequence[OutboxRow]:
    """Return the tenant's oldest events, in the order in which they happened."""
    # The table is no tenant table, so nothing narrows the statement but this.
    oldest = select(OutboxRow).where(OutboxRow.tenant_id == tenant_of(session))
    return (await session.scalars(oldest.order_by(OutboxRow.occurred_at, OutboxRow.id).limit(limit))).all()


async def active_webhooks(session: TenantSession) -> Mapping[UUID, frozenset[str]]:
    """Return what each active webhook of the tenant wants to hear of."""
    active = select(WebhookRow.id, WebhookRow.events).where(WebhookRow.status == "active")
    return {row.id: frozenset(row.events) for row in await session.execute(active)}


async def make_due(session: TenantSession, webhooks: Sequence[UUID]) -> set[UUID]:
    """Call the webhooks up for their turn, and return those that are still there.

    Whoever deletes a webhook waits for this transaction, because they take its lane first as well.
    """
    sooner = case((WebhookLaneRow.due_at < _NOW, WebhookLaneRow.due_at), else_=_NOW)
    called = (
        update(WebhookLaneRow)
        .where(WebhookLaneRow.webhook_id.in_(webhooks), WebhookLaneRow.tenant_id == tenant_of(session))
        .values(due_at=sooner)
        .returning(WebhookLaneRow.webhook_id)
        .execution_options(synchronize_session=False)
    )
    wake_after_commit(session, CHANNEL)
    return set(await session.scalars(called))


async def add_deliveries(session: TenantSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert deliveries that are due at once."""
    due = insert(DeliveryRow).values(
        tenant_id=tenant_of(session), status="pending", attempts=0, next_attempt_at=_NOW, created_at=_NOW
    )
    await session.execute(due, [dict(row) for row in rows])


async def forget_events(session: TenantSession, events: Sequence[OutboxRow]) -> None:
    """Delete events that have been passed on."""
    passed = delete(OutboxRow).where(
        OutboxRow.tenant_id == tenant_of(session), OutboxRow.id.in_([event.id for event in events])
    )
    await session.execute(passed.execution_options(synchronize_session=False))


async def tenants_with_webhooks(session: PlatformSession) -> list[UUID]:
    """Return the tenants that have a webhook."""
    return list((await session.scalars(select(WebhookLaneRow.tenant_id).distinct())).all())


async def forget_deliveries(session: TenantSession, oldest: UUID) -> None:
    """Delete the tenant's deliveries whose ids lie below `oldest`."""
    old = delete(DeliveryRow).where(DeliveryRow.id < oldest)
    await session.execute(old.execution_options(synchronize_session=False))
