"""What the watch asks, over all tenants at once, as the platform's role bound to nobody."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from mis_tenancy.postgres.connection import plain_uuid
from mis_tenancy.postgres.system_transactions import SystemTransaction
from tenant_service.alerts.causes import AlertKind, Known

# The row in `schedules` that says from which transaction on the audit log is to be looked at.
TASK: Final = "alert_watch"

_BEGIN: Final = "insert into schedules (name) values ($1) on conflict do nothing"
# Whoever holds the row watches; another worker passes by.
_MARK: Final = """
select mark, (last_run_at at time zone 'UTC')::date as last_day,
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest_running,
       (clock_timestamp() at time zone 'UTC')::date as day
  from schedules where name = $1 for update skip locked
"""
_ADVANCE: Final = "update schedules set mark = $2, last_run_at = clock_timestamp() where name = $1"
_TOUCHED: Final = """
select tenant_id,
       coalesce(array_agg(distinct action) filter (where kind = 'security' and outcome = 'refused'), '{}')
           as refused
  from audit_logs where xid >= $1 group by tenant_id
"""
_RENEWED: Final = (
    "select distinct tenant_id from revocations where kind = 'tenant' and xid >= $1 and tenant_id is not null"
)
_EVERY: Final = "select tenant_id from tenant_counters"
_OUTDATED: Final = """
select distinct tenant_id from alerts
 where status <> 'resolved' and kind in ('limit', 'security') and period < $1
"""
_STANDINGS: Final = """
select t.id as tenant_id, t.max_users, t.max_storage, c.users + c.pending_invitations as users,
       c.storage_bytes, coalesce(d.counted, 0) as requests
  from tenant_counters c
  join tenants t on t.id = c.tenant_id and t.status <> 'purged' and t.purging_since is null
  left join usage_days d on d.tenant_id = c.tenant_id and d.day = $2
 where c.tenant_id = any($1::uuid[])
"""
_ALERTS: Final = """
select tenant_id, id, kind, subject, threshold, period, status = 'resolved' as has_ended from alerts
 where tenant_id = any($1::uuid[]) and kind in ('limit', 'security') and status <> 'resolved'
union
select tenant_id, id, kind, subject, threshold, period, status = 'resolved' from alerts
 where tenant_id = any($1::uuid[]) and kind in ('limit', 'security') and period = $2
"""
# Every tenant has its row of counters, from which Citus finds the rest of the tenant on the same node.
_REFUSALS: Final = """
select c.tenant_id
  from tenant_counters c
 cross join lateral (
       select count(*) as n from (
           select from audit_logs a
            where a.tenant_id = c.tenant_id and a.action = $2 and a.id >= $4
              and a.kind = 'security' and a.outcome = 'refused'
            limit $3) as counted) as found
 where c.tenant_id = any($1::uuid[]) and found.n >= $3
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """From which transaction on to look, and from which on the next time; `day` is today in UTC.

    `since` is None before the very first pass, `is_new_day` true in the first pass of a day.
    """

    since: int | None
    next: int
    day: date
    is_new_day: bool


@dataclass(frozen=True, slots=True)
class Touched:
    """A tenant to look at, and which actions were refused in it."""

    refused: frozenset[str] = frozenset()

    def __or__(self, other: "Touched") -> "Touched":
        return Touched(self.refused | other.refused)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a tenant uses, and the limits that its row in the directory sets; `max_storage` is in GiB."""

    tenant_id: UUID
    users: int
    max_users: int | None
    storage_bytes: int
    max_storage: int | None
    requests_today: int


async def begin(system: SystemTransaction) -> Mark | None:
    """Return where the watch stands, or None while another worker watches."""
    await system.fetch(_BEGIN, TASK)
    held = await system.fetch(_MARK, TASK)
    if not held:
        return None
    row = held[0]
    return Mark(row["mark"], row["oldest_running"], row["day"], row["last_day"] != row["day"])


async def advance(system: SystemTransaction, mark: Mark) -> None:
    """Note from where on the next pass looks."""
    await system.fetch(_ADVANCE, TASK, mark.next)


async def touched(system: SystemTransaction, since: int) -> dict[UUID, Touched]:
    """Return the tenants with rows of transactions from `since` on."""
    rows = await system.fetch(_TOUCHED, since)
    return {plain_uuid(row["tenant_id"]): Touched(frozenset(row["refused"])) for row in rows}


async def renewed(system: SystemTransaction, since: int) -> list[UUID]:
    """Return the tenants whose plan, limits or configuration transactions from `since` on have changed."""
    return [plain_uuid(row["tenant_id"]) for row in await system.fetch(_RENEWED, since)]


async def every_tenant(system: SystemTransaction) -> dict[UUID, Touched]:
    """Return all tenants."""
    return {plain_uuid(row["tenant_id"]): Touched() for row in await system.fetch(_EVERY)}


async def outdated(system: SystemTransaction, day: date) -> dict[UUID, Touched]:
    """Return the tenants with alerts of earlier days that have not ended."""
    rows = await system.fetch(_OUTDATED, day.isoformat())
    return {plain_uuid(row["tenant_id"]): Touched() for row in rows}


async def standings(system: SystemTransaction, tenants: Sequence[UUID], midnight: datetime) -> list[Standing]:
    """Return how the tenants stand; those that are gone, or about to be, are left out."""
    return [
        Standing(
            plain_uuid(row["tenant_id"]),
            users=row["users"],
            max_users=row["max_users"],
            storage_bytes=row["storage_bytes"],
            max_storage=row["max_storage"],
            requests_today=row["requests"],
        )
        for row in await system.fetch(_STANDINGS, tenants, midnight)
    ]


async def known(system: SystemTransaction, tenants: Sequence[UUID], day: date) -> dict[UUID, list[Known]]:
    """Return the tenants' alerts about limits and security that have not ended or are of `day`."""
    found = defaultdict[UUID, list[Known]](list)
    for row in await system.fetch(_ALERTS, tenants, day.isoformat()):
        found[plain_uuid(row["tenant_id"])].append(
            Known(
                plain_uuid(row["id"]),
                AlertKind(row["kind"]),
                row["subject"],
                row["threshold"],
                row["period"],
                row["has_ended"],
            )
        )
    return found


async def frequent(
    system: SystemTransaction, asked: Sequence[tuple[UUID, str, int]], since: UUID
) -> set[tuple[UUID, str]]:
    """Return those of (tenant, action, number) of which there were so many refusals since the id `since`."""
    tenants = defaultdict[tuple[str, int], list[UUID]](list)
    for tenant_id, action, most in asked:
        tenants[action, most].append(tenant_id)
    found = set()
    # There are but a few such actions.
    for (action, most), of in tenants.items():
        rows = await system.fetch(_REFUSALS, of, action, most, since)
        found |= {(plain_uuid(row["tenant_id"]), action) for row in rows}
    return found
