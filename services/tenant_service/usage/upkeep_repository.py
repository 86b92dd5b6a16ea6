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


def _summed(column: str) -> str:
    """Return the query that adds up a map of the days of a changed month."""
    return f"""
        select coalesce(jsonb_object_agg(name, n), '{{}}') as counts
          from (select name, sum(value::bigint)::bigint as n
                  from usage_days cross join lateral jsonb_each_text({column}) as one (name, value)
                 where tenant_id = changed.tenant_id and day >= month and day < following
                 group by name) as summed"""  # noqa: S608  # names of columns from this file


# A late record can change the days of a month that was added up; hardly ever of one longer ago, and a reader
# notices by the count, so only the last ones are looked at again.
_ADD_UP: Final = text(f"""
with batch as materialized (
    select tenant_id from tenant_counters where tenant_id > :after order by tenant_id limit :most
), edge as (
    select date_trunc('month', now(), 'UTC') as present
), months as (
    select tenant_id, month, date_add(month, '1 month', 'UTC') as following,
           month >= date_subtract(present, '3 months', 'UTC') as is_recent
      from batch, edge,
           generate_series(date_subtract(present, '14 months', 'UTC'),
                           date_subtract(present, '1 month', 'UTC'), '1 month', 'UTC') as month
), changed as materialized (
    select months.tenant_id, months.month, following, days.requests
      from months
      left join usage_months as stored using (tenant_id, month)
     cross join lateral (select sum(requests)::bigint as requests from usage_days
                          where tenant_id = months.tenant_id and day >= months.month and day < following
                        ) as days
     where (is_recent or stored.requests is null) and days.requests is distinct from stored.requests
), added as (
    insert into usage_months (tenant_id, month, requests, latency, features)
    select tenant_id, month, requests, latency.counts, features.counts
      from changed
     cross join lateral ({_summed("latency")}) as latency
     cross join lateral ({_summed("features")}) as features
    on conflict (tenant_id, month) do update
       set requests = excluded.requests, latency = excluded.latency, features = excluded.features
)
select tenant_id from batch order by tenant_id
""")  # noqa: S608  # as above

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
        ("usage_months", "month", KEPT),
        ("usage_days", "day", TOTALS_KEPT),
    )
)


async def note_levels(session: PlatformSession, after: UUID) -> UUID | None:
    """Note what the next tenants hold where it has changed; return the last of them, or None at the end."""
    return _last((await session.scalars(_NOTE, {"after": after, "most": TENANTS_AT_ONCE})).all())


async def add_up(session: PlatformSession, after: UUID) -> UUID | None:
    """Add up the next tenants' months that are over and not added up; return as `note_levels` does."""
    return _last((await session.scalars(_ADD_UP, {"after": after, "most": TENANTS_AT_ONCE})).all())


async def forget(session: PlatformSession, after: UUID) -> UUID | None:
    """Delete the next tenants' rows that have been kept long enough; return as `note_levels` does."""
    tenants = (await session.scalars(_BATCH, {"after": after, "most": TENANTS_AT_ONCE})).all()
    for statement, kept in _FORGET:
        await session.execute(statement, {"tenants": list(tenants), "kept": kept})
    return _last(tenants)


def _last(tenants: Sequence[UUID]) -> UUID | None:
    return tenants[-1] if len(tenants) == TENANTS_AT_ONCE else None
