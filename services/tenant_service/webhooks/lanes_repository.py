"""The statements that give webhooks their turns: claimed over all tenants, worked off inside one.

Whoever changes a webhook, its deliveries or both takes its lane first, so no two of them wait for each other.
"""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, text, update

from mis_models.webhooks import DeliveryRow, WebhookLaneRow, WebhookRow
from mis_tenancy.session import PlatformSession, TenantSession, tenant_of, wake_after_commit

# Woken by each commit that makes a lane due; `Sending` listens.
CHANNEL: Final = "mis:webhooks"

# Nothing that these statements change is kept in the session.
_PLAIN: Final[dict[str, Any]] = {"synchronize_session": False}
_NOW: Final = func.clock_timestamp()

# A lane's turn is how many of its tenant's are sent to already or stand before it, and no tenant gets further
# than `per_tenant`. Webhooks whose receivers failed last get the slots that are left to them and no others.
_CLAIM: Final = text("""
with busy as (
    select tenant_id, count(*) as n from webhook_lanes
     where due_at is not null and leased_until > clock_timestamp() group by tenant_id
), due as (
    select l.webhook_id, l.due_at, l.failing,
           coalesce(b.n, 0) + row_number() over (partition by l.tenant_id order by l.due_at) as turn
      from webhook_lanes l left join busy b on b.tenant_id = l.tenant_id
     where l.due_at <= clock_timestamp()
       and coalesce(l.leased_until, '-infinity') <= clock_timestamp()
       and coalesce(l.paused_until, '-infinity') <= clock_timestamp()
), placed as (
    select webhook_id, turn, due_at, failing,
           row_number() over (partition by failing order by turn, due_at) as place
      from due where turn <= :per_tenant
), chosen as (
    select webhook_id from webhook_lanes
     where webhook_id in (select webhook_id from placed where not failing or place <= :failing_slots
                           order by turn, due_at limit :slots)
       and coalesce(leased_until, '-infinity') <= clock_timestamp()
       for update skip locked
)
update webhook_lanes set leased_by = :worker, leased_until = clock_timestamp() + cast(:lease as interval)
  from chosen where webhook_lanes.webhook_id = chosen.webhook_id
returning webhook_lanes.webhook_id, webhook_lanes.tenant_id, webhook_lanes.failing
""")
_LEAVE: Final = text(
    "update webhook_lanes set leased_by = null, leased_until = null where leased_by = :worker"
)


_STANDING: Final = text("""
select count(*) as pending, count(*) filter (where failing) as failing,
       coalesce(extract(epoch from clock_timestamp() - min(due_at)), 0) as oldest
  from webhook_lanes where due_at is not null
""")


@dataclass(frozen=True, slots=True)
class Lane:
    """A webhook whose turn it is; `failing` says that its receiver failed last time."""

    webhook_id: UUID
    tenant_id: UUID
    failing: bool


@dataclass(frozen=True, slots=True)
class Room:
    """How many lanes a worker takes: in all, of tenants' whose receivers failed last, and of one tenant."""

    slots: int
    failing_slots: int
    per_tenant: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How many lanes have something due or to come, how many of these failed last, and the longest wait."""

    pending: int
    failing: int
    oldest: float


async def standing(session: PlatformSession) -> Standing:
    """Return how the lanes stand over all tenants; `oldest` is in seconds."""
    row = (await session.execute(_STANDING)).one()
    return Standing(row.pending, row.failing, max(0.0, float(row.oldest)))


async def claim(session: PlatformSession, worker: str, room: Room, lease: timedelta) -> list[Lane]:
    """Lease to `worker` as many due lanes as it has room for."""
    rows = await session.execute(_CLAIM, asdict(room) | {"worker": worker, "lease": lease})
    return [Lane(row.webhook_id, row.tenant_id, row.failing) for row in rows]


async def leave(session: PlatformSession, worker: str) -> None:
    """Give back every lane that `worker` holds."""
    await session.execute(_LEAVE, {"worker": worker})


def open_lane(session: TenantSession, webhook_id: UUID) -> None:
    """Add the lane of a new webhook of the session's tenant."""
    session.add(WebhookLaneRow(webhook_id=webhook_id, tenant_id=tenant_of(session), failing=False))


async def hold(session: TenantSession, webhook_id: UUID) -> bool:
    """Take a lane until the transaction ends; return whether the tenant has it."""
    lane = select(WebhookLaneRow.webhook_id).where(*_own(session, webhook_id)).with_for_update()
    return await session.scalar(lane) is not None


async def hold_leased(session: TenantSession, webhook_id: UUID, worker: str, lease: timedelta) -> bool:
    """Take a lane until the transaction ends and prolong its lease; return whether `worker` still has it."""
    prolonged = (
        update(WebhookLaneRow)
        .where(*_own(session, webhook_id), WebhookLaneRow.leased_by == worker)
        .values(leased_until=_NOW + lease)
        .returning(WebhookLaneRow.webhook_id)
    )
    return await session.scalar(prolonged, execution_options=_PLAIN) is not None


async def settle(session: TenantSession, webhook: WebhookRow) -> None:
    """Let a held lane be due when the earliest delivery is, and never while its webhook is disabled."""
    due_at = None
    if webhook.status == "active":
        pending = select(func.min(DeliveryRow.next_attempt_at)).where(
            DeliveryRow.webhook_id == webhook.id, DeliveryRow.status == "pending"
        )
        due_at = await session.scalar(pending)
    lane = update(WebhookLaneRow).where(*_own(session, webhook.id))
    values = {"due_at": due_at, "failing": webhook.failing_since is not None}
    await session.execute(lane.values(values), execution_options=_PLAIN)
    if due_at is not None:
        wake_after_commit(session, CHANNEL)


async def give_back(session: TenantSession, webhook_id: UUID, pause: timedelta | None) -> None:
    """End the lease of a held lane; while a `pause` lasts nobody claims it."""
    paused = None if pause is None else _NOW + pause
    lane = update(WebhookLaneRow).where(*_own(session, webhook_id))
    await session.execute(
        lane.values(leased_by=None, leased_until=None, paused_until=paused), execution_options=_PLAIN
    )


async def close_lane(session: TenantSession, webhook_id: UUID) -> None:
    """Remove a webhook's lane."""
    await session.execute(delete(WebhookLaneRow).where(*_own(session, webhook_id)), execution_options=_PLAIN)


def _own(session: TenantSession, webhook_id: UUID) -> tuple[ColumnElement[bool], ...]:
    # The table is no tenant table, so nothing narrows a statement but this and the policy.
    return WebhookLaneRow.webhook_id == webhook_id, WebhookLaneRow.tenant_id == tenant_of(session)
