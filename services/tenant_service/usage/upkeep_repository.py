"""The statements of usage's upkeep, as the platform: each serves the next tenants in order of their ids."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text

from mis_tenancy.session import PlatformSession

TENANTS_AT_ONCE: Final = 1000

# A range reaches back 400 days; the month beyond is a margin. Totals by day stay, for bills that are
# disputed.
KEPT: Final = timedelta(days=430)
TOTALS_KEPT: Final = timedelta(days=5 * 366)

_NOTE: Final = text("""
with batch as materialized (
    select tenant_id, users, storage_bytes from tenant_counters
     where tenant_id > :after order by tenant_id limit :most
), changed as (
    select batch.* from batch
      left join lateral (select users, storage_bytes from usage_levels as noted
                          where noted.tenant_id = batch.tenant_id order by day desc limit 1) as last on true
     where (last.users, last.storage_bytes) is distinct from (batch.users, batch.storage_bytes)
), added as (
    insert into usage_levels as noted (tenant_id, day, users, storage_bytes, hours)
    select tenant_id, date_trunc('day', now(), 'UTC'), users, storage_bytes,
           jsonb_build_object(
               extract(hour from now() at time zone 'UTC')::int, jsonb_build_array(users, storage_bytes))
      from changed
    on conflict (tenant_id, day) do update
       set users = excluded.users, storage_bytes = excluded.storage_bytes,
           hours = noted.hours || excluded.hours
)
select tenant_id from batch order by tenant_id
""")

_BATCH: Final = text(
    "select tenant_id from tenant_counters where tenant_id > :after order by tenant_id limit :most"
)
_OLD: Final = "where tenant_id = any(:tenants) and {column} < now() - cast(:kept as interval)"
_FORGET: Final = tuple(
    (text(f"delete from {table} {_OLD.format(column=column)}"), kept)  # noqa: S608  # the names below
    for table, column, kept in (
        ("usage_hours", "hour", KEPT),
        ("usage_route_days", "day", KEPT),
        ("usage_user_days", "day", KEPT),
        ("usage_members", "last_hour", KEPT),
        ("usage_days", "day", TOTALS_KEPT),
    )
)


async def note_levels(session: PlatformSession, after: UUID) -> UUID | None:
    """Note what the next tenants hold where it has changed; return the last of them, or None at the end."""
    return _last((await session.scalars(_NOTE, {"after": after, "most": TENANTS_AT_ONCE})).all())


async def forget(session: PlatformSession, after: UUID) -> UUID | None:
    """Delete the next tenants' rows that have been kept long enough; return as `note_levels` does."""
    tenants = (await session.scalars(_BATCH, {"after": after, "most": TENANTS_AT_ONCE})).all()
    for statement, kept in _FORGET:
        await session.execute(statement, {"tenants": list(tenants), "kept": kept})
    return _last(tenants)


def _last(tenants: Sequence[UUID]) -> UUID | None:
    return tenants[-1] if len(tenants) == TENANTS_AT_ONCE else None
