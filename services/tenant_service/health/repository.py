"""Every statement about a tenant's probes, and the questions that a probe asks the database."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text

from mis_models.health import ProbeRow
from mis_tenancy.identifiers import floor_id
from mis_tenancy.session import PlatformSession, TenantSession
from mis_tenancy.tables import AuditRow
from tenant_service.health.verdicts import Check, Probe, Requests, Verdict

KEPT: Final = timedelta(hours=24)
_REQUESTS_OF: Final = timedelta(minutes=15)
# A busy tenant's newest requests stand for all of its last 15 minutes, so that a probe costs the same always.
_MOST_SAMPLES: Final = 10_000

# Two ranges, because an index answers each at once where `<>` would read all the tenant's rows.
_VISIBLE: Final = text("""
select exists (select from tenant_counters where tenant_id = :own) as own,
       exists (select from tenant_counters where tenant_id < :own)
       or exists (select from tenant_counters where tenant_id > :own) as others
""")
_DUE: Final = text("""
select t.id
  from tenants t
  left join lateral (
       select at from tenant_probes p where p.tenant_id = t.id order by at desc limit 1) newest on true
 where t.status = 'active' and (newest.at is null or newest.at < clock_timestamp() - cast(:age as interval))
 order by newest.at nulls first
 limit :most
""")


async def visible(session: TenantSession, tenant_id: UUID) -> tuple[bool, bool]:
    """Return whether the transaction sees the tenant's own rows, and whether it sees those of others.

    Unscoped, because the session's own narrowing would hide what the policies let through.
    """
    answer = await session.execute(_VISIBLE, {"own": tenant_id}, execution_options={"unscoped": True})
    row = answer.one()
    return bool(row.own), bool(row.others)


async def recent_requests(session: TenantSession) -> Requests:
    """Return what the audit log says of the newest requests of the last 15 minutes."""
    since = floor_id(datetime.now(UTC) - _REQUESTS_OF)
    newest = (
        select(AuditRow.status, AuditRow.duration_us)
        .where(AuditRow.id >= since, AuditRow.kind == "request", AuditRow.status.is_not(None))
        .order_by(AuditRow.id.desc())
        .limit(_MOST_SAMPLES)
        .subquery()
    )
    median = func.percentile_disc(0.5).within_group(newest.c.duration_us)
    failed = func.count().filter(newest.c.status >= 500)
    row = (await session.execute(select(func.count(), failed, median).select_from(newest))).one()
    return Requests(*row)


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
    await session.execute(delete(ProbeRow).where(ProbeRow.at < func.clock_timestamp() - KEPT))
    row = {"at": func.clock_timestamp(), "verdict": probe.verdict.value, "status": probe.status.value}
    added = insert(ProbeRow).values(row | _found(probe)).returning(ProbeRow.at)
    return (await session.execute(added)).scalar_one()


async def due_tenants(session: PlatformSession, age: timedelta, most: int) -> list[UUID]:
    """Return active tenants whose newest probe is older than `age`, those that waited longest first."""
    return list((await session.scalars(_DUE, {"age": age, "most": most})).all())


def _found(probe: Probe) -> dict[str, Any]:
    passed = {f"{name}_passed": check.passed for name, check in probe.checks.items()}
    details = {
        name: {"duration_ms": check.duration_ms, "detail": check.detail}
        for name, check in probe.checks.items()
    }
    requests = probe.requests
    return passed | {
        "details": details,
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
