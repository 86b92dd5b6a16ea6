"""Every statement about seals and the rows they cover."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, Text, cast, func, literal_column, select

from mis_models.audit import AuditSealRow
from mis_tenancy.plans import PlanName
from mis_tenancy.postgres.system_transactions import SystemTransaction
from mis_tenancy.seals import SEALED_COLUMNS
from mis_tenancy.session import TenantSession
from mis_tenancy.system_database import shared_or_not
from mis_tenancy.tables import AuditRow

# The row in `schedules` that says up to which transaction everything is sealed.
TASK: Final = "audit_seals"

_TEXTS: Final = ", ".join(f"{column}::text" for column in SEALED_COLUMNS)
_HORIZON: Final = "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as horizon"
# It reads no table, so there is no tenant to narrow it to.
_BEGUN: Final = select(
    literal_column("pg_snapshot_xmax(pg_current_snapshot())::text::bigint", BigInteger)
).execution_options(unscoped=True)
# Below every number that a restored log may have been moved to.
_FIRST: Final = -(2**62)
_BEGIN: Final = "insert into schedules (name, mark) values ($1, $2) on conflict do nothing"
# Whoever holds the row seals; another worker passes by.
_MARK: Final = "select mark from schedules where name = $1 for update skip locked"
_ADVANCE: Final = "update schedules set mark = $2, last_run_at = clock_timestamp() where name = $1"
_CUT: Final = "select xid from audit_logs where xid >= $1 and xid < $2 order by xid offset $3 limit 1"
_NEWEST: Final = f"""
select tenant_id, {_TEXTS}, id as row_id from audit_logs
 where xid >= $1 and xid < $2 order by tenant_id, audit_logs.id
"""  # noqa: S608  # names of the model's columns
# Asked from the very rows that are to be sealed, which on Citus lie on the same node as their seals.
_LAST: Final = """
select last.* from (select distinct tenant_id from audit_logs where xid >= $1 and xid < $2) as touched
 cross join lateral (select tenant_id, seq, link from audit_seals where tenant_id = touched.tenant_id
                      order by seq desc limit 1) as last
"""
# The purge of a tenant waits for seals that are being written, and finds no seal of a tombstone afterwards.
_INSERT: Final = shared_or_not("""
with standing as materialized (
    select id from tenants where id = any($1) and status <> 'purged' order by id for key share
)
insert into audit_seals
       (tenant_id, seq, first_id, last_id, count, horizon, sealed_at, marks, link, hash, key_id)
select seal.tenant_id, seq, first_id, last_id, count, $6, $7, marks, link, hash, $11
  from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::bigint[],
              $8::bytea[], $9::bytea[], $10::bytea[])
    as seal (tenant_id, seq, first_id, last_id, count, marks, link, hash)
  join standing on standing.id = seal.tenant_id
returning seq
""")
_SEAL_COLUMNS: Final = "seq, count, first_id, last_id, sealed_at, link, pruned, horizon"
_OLDEST: Final = f"""
select {_SEAL_COLUMNS} from audit_seals where tenant_id = $1 order by seq limit $2
"""  # noqa: S608  # as above
_FORGET_ROWS: Final = "delete from audit_logs where tenant_id = $1 and xid < $2"
_FORGET_SEALS: Final = "delete from audit_seals where tenant_id = $1 and seq < $2"
_ANCHOR: Final = """
update audit_seals set pruned = true, marks = '', hash = $3, key_id = $4 where tenant_id = $1 and seq = $2
"""
# Tenants in the order of their ids, each with its oldest seal that retention may reach. Every tenant has its
# row of counters, from which Citus finds the rest of the tenant on the same node.
_PRUNABLE: Final = """
select counted.tenant_id as id, tenants.plan, oldest.last_id
  from tenant_counters as counted
  join tenants on tenants.id = counted.tenant_id
  left join lateral (select last_id from audit_seals where tenant_id = counted.tenant_id and not pruned
                      order by seq limit 1) as oldest on true
 where counted.tenant_id > $1
 order by counted.tenant_id limit $2
"""
_PLANS_LEFT: Final = """
select distinct from_plan from plan_migrations
 where tenant_id = $1 and status = 'completed' and finished_at > $2
"""


@dataclass(frozen=True, slots=True)
class NewSeal:
    """A seal about to be written."""

    tenant_id: UUID
    seq: int
    first_id: UUID
    last_id: UUID
    count: int
    marks: bytes
    link: bytes
    hash: bytes


async def begin(system: SystemTransaction) -> int | None:
    """Return up to which transaction everything is sealed, or None while another worker seals."""
    await system.fetch(_BEGIN, TASK, _FIRST)
    held = await system.fetch(_MARK, TASK)
    return int(held[0]["mark"]) if held else None


async def horizon(system: SystemTransaction) -> int:
    """Return the oldest transaction that is still running; all before it have come to their end."""
    return int((await system.fetch(_HORIZON))[0]["horizon"])


async def cut(system: SystemTransaction, mark: int, end: int, rows: int) -> int:
    """Return an earlier end, where more than about `rows` rows lie between `mark` and `end`."""
    found = await system.fetch(_CUT, mark, end, rows)
    # What one transaction has written stays together, however much it is.
    return max(int(found[0]["xid"]), mark + 1) if found else end


async def newest(system: SystemTransaction, mark: int, end: int) -> list[Any]:
    """Return the rows of all tenants in that range of transactions: tenant, SEALED_COLUMNS as texts, id."""
    return await system.fetch(_NEWEST, mark, end)


async def last_seals(system: SystemTransaction, mark: int, end: int) -> dict[UUID, tuple[int, bytes]]:
    """Return number and link of the newest seal of each tenant that has one and rows in that range."""
    return {row["tenant_id"]: (row["seq"], row["link"]) for row in await system.fetch(_LAST, mark, end)}


async def add(
    system: SystemTransaction, seals: list[NewSeal], *, end: int, sealed_at: datetime, key_id: str
) -> None:
    """Insert the seals, but none of a tenant that is gone or purged."""
    columns = [
        [getattr(seal, name) for seal in seals]
        for name in ("tenant_id", "seq", "first_id", "last_id", "count", "marks", "link", "hash")
    ]
    await system.fetch(_INSERT[system.on_nodes], *columns[:5], end, sealed_at, *columns[5:], key_id)


async def advance(system: SystemTransaction, end: int) -> None:
    """Note that everything up to the transaction `end` is sealed."""
    await system.fetch(_ADVANCE, TASK, end)


async def oldest_seals(system: SystemTransaction, tenant_id: UUID, limit: int) -> list[Any]:
    """Return the tenant's first seals."""
    return await system.fetch(_OLDEST, tenant_id, limit)


async def prune(
    system: SystemTransaction, tenant_id: UUID, anchor: Any, signature: bytes, key_id: str
) -> None:
    """Delete the rows up to the seal `anchor` and the seals before it, and sign it as pruned."""
    await system.fetch(_FORGET_ROWS, tenant_id, anchor["horizon"])
    await system.fetch(_FORGET_SEALS, tenant_id, anchor["seq"])
    await system.fetch(_ANCHOR, tenant_id, anchor["seq"], signature, key_id)


async def prunable(system: SystemTransaction, after: UUID, limit: int) -> list[Any]:
    """Return up to `limit` tenants past `after`, with their plan and the last id of their oldest seal."""
    return await system.fetch(_PRUNABLE, after, limit)


async def plans_left(system: SystemTransaction, tenant_id: UUID, since: datetime) -> list[PlanName]:
    """Return the plans that the tenant, to which the transaction is bound, has left since then."""
    return [PlanName(row["from_plan"]) for row in await system.fetch(_PLANS_LEFT, tenant_id, since)]


async def freeze(session: TenantSession) -> None:
    """Let the session see one moment of the log for as long as it reads; call it before anything else."""
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


async def seals(session: TenantSession, after: int, limit: int) -> Sequence[AuditSealRow]:
    """Return the tenant's seals past the number `after`, in order."""
    found = select(AuditSealRow).where(AuditSealRow.seq > after).order_by(AuditSealRow.seq).limit(limit)
    return (await session.scalars(found)).all()


async def rows_between(session: TenantSession, low: int | None, high: int) -> Sequence[Any]:
    """Return (xid, id, SEALED_COLUMNS as texts) of the rows from transaction `low` to below `high`, by id."""
    texts = [cast(getattr(AuditRow, name), Text).label(f"{name}_text") for name in SEALED_COLUMNS]
    found = select(AuditRow.xid, AuditRow.id, *texts).where(AuditRow.xid < high).order_by(AuditRow.id)
    if low is not None:
        found = found.where(AuditRow.xid >= low)
    return (await session.execute(found)).all()


async def unsealed(session: TenantSession, low: int | None) -> tuple[int, int, UUID | None]:
    """Return how many rows have no seal, the first transaction not yet begun, and a row that is past it."""
    # By itself: beside a tenant's rows Citus would ask it on their node, which has a count of its own.
    begun = int((await session.execute(_BEGUN)).scalar_one())
    # Text, because there is no smallest UUID before Postgres 18.
    past_it = func.min(cast(AuditRow.id, Text)).filter(AuditRow.xid >= begun)
    asked = select(func.count(AuditRow.id).label("waiting"), past_it.label("liar"))
    if low is not None:
        asked = asked.where(AuditRow.xid >= low)
    found: Any = (await session.execute(asked)).one()
    return found.waiting, begun, None if found.liar is None else UUID(found.liar)
