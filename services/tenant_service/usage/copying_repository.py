"""The statements that copy who was active on which days, as the application's role bound to a tenant.

Which tenants are behind the platform's role finds, who sees how many asked and never who.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text

from mis_tenancy.session import PlatformSession
from mis_tenancy.system_database import BoundConnection
from mis_tenancy.usage_tables import KEPT_DAYS

# With fewer users, a year of the ledger itself is read in some milliseconds.
FEW_USERS: Final = 100

_BEHIND: Final = """
       usage_days as counted
  left join usage_copied_days as copied on copied.tenant_id = counted.tenant_id and copied.day = counted.day
 where copied.requests is distinct from counted.requests"""
_TENANTS_BEHIND: Final = text(f"""
select held.tenant_id from tenant_counters as held
 where held.tenant_id > :after and held.users > :few
   and exists (select 1 from {_BEHIND}
                  and counted.tenant_id = held.tenant_id and counted.day >= :first and counted.day < :end)
 order by held.tenant_id limit :most
""")  # noqa: S608  # the text above

# The days are noted before their users are read: what comes in between is a request more than the note says.
# Two workers at once wait for each other here, as both take the oldest days.
_NOTE: Final = f"""
insert into usage_copied_days (tenant_id, day, requests)
select counted.tenant_id, counted.day, counted.requests from {_BEHIND}
   and counted.tenant_id = $1 and counted.day >= $2 and counted.day < $3
 order by counted.day limit $4
on conflict (tenant_id, day) do update set requests = excluded.requests
returning day
"""  # noqa: S608  # as above
_FIRST_BIT: Final = f"b'1'::bit({KEPT_DAYS})"
# Both sides are brought to the later one's last day, so that it does not matter which copy was first.
_COPY: Final = f"""
insert into usage_member_days as held (tenant_id, user_id, last_day, days)
select tenant_id, actor, max(day), bit_or({_FIRST_BIT} >> ($3 - day)) << ($3 - max(day))
  from (select tenant_id, actor, (day at time zone 'UTC')::date as day from usage_user_days
         where tenant_id = $1 and day = any($2) and actor_kind = 'member') as seen
 group by tenant_id, actor
 order by actor
on conflict (tenant_id, user_id) do update
   set last_day = greatest(held.last_day, excluded.last_day),
       days = (held.days >> (greatest(held.last_day, excluded.last_day) - held.last_day))
            | (excluded.days >> (greatest(held.last_day, excluded.last_day) - excluded.last_day))
"""  # noqa: S608  # as above


async def tenants_behind(
    session: PlatformSession, after: UUID, first: datetime, end: datetime, most: int
) -> Sequence[UUID]:
    """Return the next tenants of many users with days from `first` until before `end` that are not copied."""
    given = {"after": after, "few": FEW_USERS, "first": first, "end": end, "most": most}
    return (await session.scalars(_TENANTS_BEHIND, given)).all()


async def copy_some(
    system: BoundConnection, tenant_id: UUID, first: datetime, end: datetime, most: int
) -> int:
    """Copy the tenant's `most` oldest days of those that are behind; return how many there were."""
    noted = await system.fetch(_NOTE, tenant_id, first, end, most)
    if noted:
        days = [row["day"] for row in noted]
        await system.fetch(_COPY, tenant_id, days, max(days).date())
    return len(noted)
