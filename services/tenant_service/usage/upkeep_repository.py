"""The statements of usage's upkeep, as the platform: each serves the next tenants in order of their ids."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Boolean, DateTime, bindparam, text

from mis_tenancy.session import PlatformSession
from tenant_service.usage.ranges import KEPT

TENANTS_AT_ONCE: Final = 1000

# Totals by day stay, for bills that are disputed.
TOTALS_KEPT: Final = timedelta(days=5 * 366)

# The next tenants by their counters, of which each has a row, and from which Citus finds the rest of a tenant
# on the same node.
_BATCH: Final = text(
    "select tenant_id from tenant_counters where tenant_id > :after order by tenant_id limit :most"
)
_NOTE: Final = text("""
insert into usage_levels as noted (tenant_id, day, users, storage_bytes, hours)
select held.tenant_id, date_trunc('day', now(), 'UTC'), held.users, held.storage_bytes,
       jsonb_build_object(
           extract(hour from now() at time zone 'UTC')::int,
           jsonb_build_array(held.users, held.storage_bytes))
  from tenant_counters as held
  left join lateral (select users, storage_bytes from usage_levels as before
                      where before.tenant_id = held.tenant_id order by day desc limit 1) as last on true
 where held.tenant_id = any(:tenants)
   and (last.users, last.storage_bytes) is distinct from (held.users, held.storage_bytes)
on conflict (tenant_id, day) do update
   set users = excluded.users, storage_bytes = excluded.storage_bytes, hours = noted.hours || excluded.hours
""")


def _summed(column: str) -> str:
    """Return the query that adds up a map of the days of a month."""
    return f"""
        select coalesce(jsonb_object_agg(name, n), '{{}}') as counts
          from (select name, sum(value::bigint)::bigint as n
                  from usage_days cross join lateral jsonb_each_text({column}) as one (name, value)
                 where tenant_id = held.tenant_id and {_OF_MONTH}
                 group by tenant_id, name) as summed"""  # noqa: S608  # names of columns from this file


_OF_MONTH: Final = "day >= :month and day < :following"
_ADD_UP_TEXT: Final = text(f"""
insert into usage_months (tenant_id, month, requests, latency, features)
select held.tenant_id, :month, days.requests, latency.counts, features.counts
  from tenant_counters as held
  left join usage_months as stored on stored.tenant_id = held.tenant_id and stored.month = :month
 cross join lateral (select sum(requests)::bigint as requests from usage_days
                      where tenant_id = held.tenant_id and {_OF_MONTH}) as days
 cross join lateral ({_summed("latency")}) as latency
 cross join lateral ({_summed("features")}) as features
 where held.tenant_id = any(:tenants)
   and (:is_recent or stored.requests is null) and days.requests is distinct from stored.requests
on conflict (tenant_id, month) do update
   set requests = excluded.requests, latency = excluded.latency, features = excluded.features
""")  # noqa: S608  # as above
_ADD_UP: Final = _ADD_UP_TEXT.bindparams(
    bindparam("month", type_=DateTime(timezone=True)),
    bindparam("following", type_=DateTime(timezone=True)),
    bindparam("is_recent", type_=Boolean()),
)
# A late record can change the days of a month that was added up; hardly ever of one longer ago, and a reader
# notices by the count, so only the last ones are looked at again.
_RECENT_MONTHS: Final = 3
_MONTHS: Final = 14

_OLD: Final = "where tenant_id = any(:tenants) and {column} < now() - cast(:kept as interval)"
_FORGET: Final = tuple(
    (text(f"delete from {table} {_OLD.format(column=column)}"), kept)  # noqa: S608  # the names below
    for table, column, kept in (
        ("usage_hours", "hour", KEPT),
        ("usage_route_days", "day", KEPT),
        ("usage_user_days", "day", KEPT),
        ("usage_members", "last_hour", KEPT),
        ("usage_months", "month", KEPT),
        ("usage_copied_days", "day", KEPT),
        ("usage_days", "day", TOTALS_KEPT),
    )
)
# A copy loses the bits of days that are too old, and goes with the last one.
_AGE: Final = "(cast(now() at time zone 'UTC' as date) - last_day)"
_FORGET_COPIES: Final = (
    text(f"delete from usage_member_days where tenant_id = any(:tenants) and {_AGE} >= {KEPT.days}"),  # noqa: S608
    text(f"""
update usage_member_days set days = (days >> {_AGE}) << {_AGE}
 where tenant_id = any(:tenants) and (days >> {_AGE}) << {_AGE} <> days
"""),  # noqa: S608  # numbers and names from this file
)


async def note_levels(session: PlatformSession, after: UUID) -> UUID | None:
    """Note what the next tenants hold where it has changed; return the last of them, or None at the end."""
    tenants = await _next(session, after)
    await session.execute(_NOTE, {"tenants": tenants})
    return _last(tenants)


async def add_up(session: PlatformSession, after: UUID) -> UUID | None:
    """Add up the next tenants' months that are over and not added up; return as `note_levels` does."""
    tenants = await _next(session, after)
    following = _month_of(datetime.now(UTC))
    for past in range(1, _MONTHS + 1):
        month = _month_of(following - timedelta(days=1))
        given = {"month": month, "following": following, "is_recent": past <= _RECENT_MONTHS}
        await session.execute(_ADD_UP, given | {"tenants": tenants})
        following = month
    return _last(tenants)


async def forget(session: PlatformSession, after: UUID) -> UUID | None:
    """Delete the next tenants' rows that have been kept long enough; return as `note_levels` does."""
    tenants = await _next(session, after)
    for statement, kept in _FORGET:
        await session.execute(statement, {"tenants": tenants, "kept": kept})
    for forget_copies in _FORGET_COPIES:
        await session.execute(forget_copies, {"tenants": tenants})
    return _last(tenants)


async def _next(session: PlatformSession, after: UUID) -> list[UUID]:
    return list((await session.scalars(_BATCH, {"after": after, "most": TENANTS_AT_ONCE})).all())


def _month_of(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _last(tenants: Sequence[UUID]) -> UUID | None:
    return tenants[-1] if len(tenants) == TENANTS_AT_ONCE else None
