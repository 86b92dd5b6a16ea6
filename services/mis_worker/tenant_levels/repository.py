"""The platform's questions about what all tenants hold, and about some of them by name."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text

from mis_tenancy.session import PlatformSession

_GIB: Final = 2**30

# By two days' requests, so that midnight changes nothing; the one is for tenants who have made none yet.
# Every tenant has its row of counters, from which Citus finds the rest of the tenant on the same node.
_BUSY: Final = text("""
with busy as (
    select c.tenant_id as id, 1 + coalesce(sum(d.requests), 0)::bigint as requests
      from tenant_counters c
      join tenants t on t.id = c.tenant_id and t.status <> 'purged'
      left join usage_days d on d.tenant_id = c.tenant_id
           and d.day >= date_trunc('day', now() at time zone 'utc') at time zone 'utc' - interval '1 day'
     group by c.tenant_id
)
(select id, requests from busy order by requests desc, id limit :most)
union
select id, requests from busy where id = any(:named)
""")
_TENANTS: Final = text("""
select plan, status, count(*) as n from tenants where status <> 'purged' group by plan, status
""")
_TOTALS: Final = text("""
select coalesce(sum(users), 0)::bigint as users, coalesce(sum(storage_bytes), 0)::bigint as storage_bytes
  from tenant_counters
""")
_ALERTS: Final = text("""
select kind, severity, count(*) as n from alerts where status <> 'resolved' group by kind, severity
""")
_NAMED: Final = text("""
select t.id, t.slug, t.plan, t.status, t.max_users, t.max_storage,
       c.users, c.storage_bytes, p.database_passed, p.redis_passed, p.storage_passed, p.api_passed
  from tenant_counters c
  join tenants t on t.id = c.tenant_id and t.status <> 'purged'
  left join lateral (
       select * from tenant_probes where tenant_id = c.tenant_id
          and at > clock_timestamp() - interval '10 minutes' order by at desc limit 1) p on true
 where c.tenant_id = any(:named)
 order by t.id
""")


@dataclass(frozen=True, slots=True)
class Level:
    """What one tenant holds; a limit is None where there is none, `checks` are those of a recent probe."""

    id: UUID
    slug: str
    plan: str
    status: str
    users: int
    users_limit: int | None
    storage_bytes: int
    storage_limit_bytes: int | None
    checks: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Standing:
    """What all tenants hold, and the named ones among them.

    `tenants` counts by plan and status, `alerts` those that have not ended by kind and severity.
    """

    tenants: Mapping[tuple[str, str], int]
    alerts: Mapping[tuple[str, str], int]
    users: int
    storage_bytes: int
    named: tuple[Level, ...]


async def busy(session: PlatformSession, named: Collection[UUID], most: int) -> dict[UUID, float]:
    """Return how busy the `most` busiest tenants are, and the `named` ones."""
    rows = await session.execute(_BUSY, {"named": list(named), "most": most})
    return {row.id: float(row.requests) for row in rows}


async def standing(session: PlatformSession, named: Collection[UUID]) -> Standing:
    """Return what all tenants hold, in one statement each, and what the named do."""
    totals = (await session.execute(_TOTALS)).one()
    tenants = {(row.plan, row.status): row.n for row in await session.execute(_TENANTS)}
    alerts = {(row.kind, row.severity): row.n for row in await session.execute(_ALERTS)}
    levels = [
        Level(
            id=row.id,
            slug=row.slug,
            plan=row.plan,
            status=row.status,
            users=row.users,
            users_limit=row.max_users,
            storage_bytes=row.storage_bytes,
            storage_limit_bytes=None if row.max_storage is None else row.max_storage * _GIB,
            checks={
                check: passed
                for check in ("database", "redis", "storage", "api")
                if (passed := getattr(row, f"{check}_passed")) is not None
            },
        )
        for row in await session.execute(_NAMED, {"named": list(named)})
    ]
    return Standing(tenants, alerts, totals.users, totals.storage_bytes, tuple(levels))
