"""Every statement about a tenant's probes, and the questions that a probe asks the database."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import func, select, text

from mis_models.health import ProbeRow
from mis_tenancy.identifiers import floor_id
from mis_tenancy.postgres.system_transactions import SystemTransaction
from mis_tenancy.session import PlatformSession, TenantSession, tenant_of
from tenant_service.health.verdicts import Before, Check, Probe, Requests, Verdict

KEPT: Final = timedelta(hours=24)
# What was found longer ago than this says nothing about a change now.
TELLING: Final = timedelta(minutes=10)
_REQUESTS_OF: Final = timedelta(minutes=15)
# A busy tenant's newest requests stand for all of its last 15 minutes, so that a probe costs the same always.
_MOST_SAMPLES: Final = 10_000

# Two ranges, because an index answers each at once where `<>` would read all the tenant's rows.
_ASK: Final = """
with newest as (
    select status, duration_us from audit_logs
     where tenant_id = $1 and id >= $2 and kind = 'request' and status is not null
     order by id desc limit $3
), requests as (
    select count(*) as samples, count(*) filter (where status >= 500) as errors,
           percentile_disc(0.5) within group (order by duration_us) as response_us
      from newest
), before as (
    select verdict, status from tenant_probes
     where tenant_id = $1 and at >= clock_timestamp() - $4::interval
     order by at desc limit 1
)
select exists (select 1 from tenant_counters where tenant_id = $1) as own,
       exists (select 1 from tenant_counters where tenant_id < $1)
       or exists (select 1 from tenant_counters where tenant_id > $1) as others,
       requests.*, before.verdict, before.status
  from requests left join before on true
"""
_KEEP: Final = text("""
with forgotten as (
    delete from tenant_probes where tenant_id = :own and at < now() - cast(:kept as interval)
)
insert into tenant_probes (tenant_id, at, verdict, status, database_passed, redis_passed, storage_passed,
                           api_passed, samples, errors, response_us, details)
values (:own, clock_timestamp(), :verdict, :status, :database_passed, :redis_passed, :storage_passed,
        :api_passed, :samples, :errors, :response_us, cast(:details as jsonb))
returning at
""")
# Every tenant has its row of counters, from which Citus finds the rest of the tenant on the same node.
# Of a tenant that is well and that nobody works with, a probe tells little that another tenant's does not.
_DUE: Final = """
with waiting as (
    select t.id, newest.at + case when newest.samples = 0 and newest.verdict = 'healthy'
                                   and newest.status = 'healthy'
                                  then cast(:quiet as interval) else cast(:busy as interval) end as due
      from tenant_counters c
      join tenants t on t.id = c.tenant_id
      left join lateral (
           select at, samples, verdict, status from tenant_probes p
            where p.tenant_id = c.tenant_id order by at desc limit 1) newest on true
     where t.status = 'active' and c.tenant_id between :first and :last
), due as (
    select id, due from waiting where due is null or due < clock_timestamp()
)
"""
_DUE_TENANTS: Final = text(f"{_DUE} select id from due order by due nulls first")  # noqa: S608  # a constant
# The first and the last tenant of each batch; a batch of one is there once.
_EDGES: Final = text(f"""{_DUE}, numbered as (
    select id, row_number() over (order by id) as n, count(*) over () as total from due
)
select id from numbered where n % :size in (0, 1) or n = total order by n
""")  # noqa: S608  # as above
_UNSCOPED: Final = {"unscoped": True}


class Batch(NamedTuple):
    """The tenants whose ids lie between two, both included."""

    first: UUID
    last: UUID


EVERYONE: Final = Batch(UUID(int=0), UUID(int=2**128 - 1))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a transaction of the tenant's sees: its own rows, others' rows, its newest requests and probe."""

    own: bool
    others: bool
    requests: Requests
    before: Before | None


async def ask(system: SystemTransaction, tenant_id: UUID) -> Seen:
    """Return what the tenant's transaction sees: requests of the last 15 minutes, a probe that still tells.

    On the driver, because a round asks it of every tenant, and unscoped, because narrowing would hide what
    the policies let through.
    """
    since = floor_id(datetime.now(UTC) - _REQUESTS_OF)
    (row,) = await system.fetch(_ASK, tenant_id, since, _MOST_SAMPLES, TELLING)
    told = None if row["status"] is None else Before(Verdict(row["verdict"]), Verdict(row["status"]))
    requests = Requests(row["samples"], row["errors"], row["response_us"])
    return Seen(row["own"], row["others"], requests, told)


async def before(session: TenantSession) -> Before | None:
    """Return what the newest probe said, if it still tells."""
    newest = await newest_probe(session)
    return None if newest is None or newest[1] > TELLING else Before(newest[0].verdict, newest[0].status)


async def newest_probe(session: TenantSession) -> tuple[Probe, timedelta] | None:
    """Return the newest probe and its age by the database's clock, which all processes share."""
    age = (func.clock_timestamp() - ProbeRow.at).label("age")
    row = (await session.execute(select(ProbeRow, age).order_by(ProbeRow.at.desc()).limit(1))).first()
    return None if row is None else (_probe(row[0]), row[1])


async def uptime(session: TenantSession) -> float:
    """Return the percent of the last 24 hours' probes that passed; 100 before the first one."""
    passed = func.count().filter(ProbeRow.verdict == Verdict.HEALTHY.value)
    day = select(passed, func.count()).where(ProbeRow.at > func.clock_timestamp() - KEPT)
    good, every = (await session.execute(day)).one()
    return 100.0 * good / every if every else 100.0


async def keep(session: TenantSession, probe: Probe) -> datetime:
    """Add the probe at the moment of the database's clock, which is returned; forget those of a day ago."""
    found = _found(probe) | {"own": tenant_of(session), "kept": KEPT}
    return (await session.execute(_KEEP, found, execution_options=_UNSCOPED)).scalar_one()  # type: ignore[no-any-return]  # text has no types


async def due_tenants(
    session: PlatformSession, busy: timedelta, quiet: timedelta, batch: Batch = EVERYONE
) -> list[UUID]:
    """Return the active tenants of `batch` that are due, those most overdue first.

    A tenant is due `busy` after its newest probe, or `quiet` after one that found it well and without a
    request in the last 15 minutes.
    """
    asked = {"busy": busy, "quiet": quiet, "first": batch.first, "last": batch.last}
    return list((await session.scalars(_DUE_TENANTS, asked)).all())


async def due_batches(session: PlatformSession, busy: timedelta, quiet: timedelta, size: int) -> list[Batch]:
    """Return batches that hold all tenants which are due, `size` each and fewer in the last one."""
    asked = {"busy": busy, "quiet": quiet, "size": size, "first": EVERYONE.first, "last": EVERYONE.last}
    edges = list((await session.scalars(_EDGES, asked)).all())
    lasts = edges[1::2] + edges[-1:] * (len(edges) % 2)
    return list(map(Batch, edges[::2], lasts))


def _found(probe: Probe) -> dict[str, Any]:
    passed = {f"{name}_passed": check.passed for name, check in probe.checks.items()}
    details = {
        name: {"duration_ms": check.duration_ms, "detail": check.detail}
        for name, check in probe.checks.items()
    }
    requests = probe.requests
    return passed | {
        "verdict": probe.verdict.value,
        "status": probe.status.value,
        "details": msgspec.json.encode(details).decode(),
        "samples": requests.samples,
        "errors": requests.errors,
        "response_us": requests.response_us,
    }


def _probe(row: ProbeRow) -> Probe:
    return Probe(
        at=row.at,
        checks={
            name: Check(passed=getattr(row, f"{name}_passed"), **detail)
            for name, detail in row.details.items()
        },
        requests=Requests(row.samples, row.errors, row.response_us),
        verdict=Verdict(row.verdict),
        status=Verdict(row.status),
    )
