"""The statements that hand out jobs, and take them back.

A claim takes turns between lanes (tenants, and the platform): a job's turn is how many of its lane run
already or stand before it, so one tenant's hundred thousand jobs put another's first job behind only one of
them. The lanes that have work are found by hopping through the index, not by reading their jobs.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from mis_jobs.jobs import MOST_ATTEMPTS, Job

LEASE: Final = timedelta(seconds=30)

_CLAIM: Final = text("""
with recursive lanes as (
    (select lane from jobs where state = 'queued' order by lane limit 1)
    union all
    select (select j.lane from jobs j where j.state = 'queued' and j.lane > l.lane order by j.lane limit 1)
      from lanes l where l.lane is not null
), running as (
    select lane, count(*) as n from jobs where state = 'running' group by lane
), due as (
    select j.id, j.run_at,
           coalesce(r.n, 0) + row_number() over (partition by l.lane order by j.run_at, j.id) as turn
      from lanes l
      left join running r on r.lane = l.lane
     cross join lateral (
           select id, run_at from jobs
            where state = 'queued' and lane = l.lane and run_at <= clock_timestamp()
            order by run_at, id limit greatest(:per_lane - coalesce(r.n, 0), 0)) j
     where l.lane is not null
), chosen as (
    select id from jobs
     where id in (select id from due order by turn, run_at limit :slots) and state = 'queued'
       for update skip locked
)
update jobs set state = 'running', attempts = attempts + 1, leased_by = :worker,
       leased_until = clock_timestamp() + :lease
  from chosen where jobs.id = chosen.id
returning jobs.id, jobs.tenant_id, jobs.kind, jobs.payload, jobs.attempts
""")

_RECLAIM: Final = text("""
update jobs set state = case when attempts >= :most then 'dead' else 'queued' end,
       last_error = coalesce(last_error, 'The worker that ran it died.'), leased_by = null, leased_until =
       null, finished_at = case when attempts >= :most then clock_timestamp() end
 where id in (select id from jobs where state = 'running' and leased_until < clock_timestamp()
                 for update skip locked)
returning id
""")

_PROLONG: Final = text("""
update jobs set leased_until = clock_timestamp() + :lease
 where id = :id and state = 'running' and leased_by = :worker
returning id
""")

_FINISH: Final = text("""
update jobs set state = 'done', finished_at = clock_timestamp(), leased_by = null, leased_until = null
 where id = :id and state = 'running' and leased_by = :worker
returning id
""")

_FAIL: Final = text("""
update jobs set state = case when attempts >= :most then 'dead' else 'queued' end,
       run_at = clock_timestamp() + least(interval '1 second' * power(2, attempts - 1), interval '15
       minutes'), last_error = :error, leased_by = null, leased_until = null, finished_at = case when
       attempts >= :most then clock_timestamp() end
 where id = :id and state = 'running' and leased_by = :worker
returning state
""")


async def claim(session: AsyncSession, worker: str, slots: int, per_lane: int) -> list[Job]:
    """Lease up to `slots` due jobs to `worker`, at most `per_lane` running at a time for one lane."""
    parameters = {"worker": worker, "slots": slots, "per_lane": per_lane, "lease": LEASE}
    rows = await session.execute(_CLAIM, parameters)
    return [Job(row.id, row.tenant_id, row.kind, row.payload, row.attempts) for row in rows]


async def reclaim(session: AsyncSession) -> int:
    """Put back the jobs whose worker let its lease run out; return how many."""
    return len((await session.execute(_RECLAIM, {"most": MOST_ATTEMPTS})).all())


async def prolong(session: AsyncSession, job_id: UUID, worker: str) -> bool:
    """Push the lease out; return whether the job is still this worker's."""
    row = await session.execute(_PROLONG, {"id": job_id, "worker": worker, "lease": LEASE})
    return row.first() is not None


async def finish(session: AsyncSession, job_id: UUID, worker: str) -> bool:
    """Mark the job done; return whether it was still this worker's."""
    return (await session.execute(_FINISH, {"id": job_id, "worker": worker})).first() is not None


async def fail(session: AsyncSession, job_id: UUID, worker: str, error: str) -> str | None:
    """Queue the job again after 1 s, 2 s, 4 s … or bury it after the last attempt; return its new state."""
    parameters = {"id": job_id, "worker": worker, "error": error[:2000], "most": MOST_ATTEMPTS}
    row = (await session.execute(_FAIL, parameters)).first()
    return None if row is None else str(row.state)
