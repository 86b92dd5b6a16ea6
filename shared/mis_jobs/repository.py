"""The statements that hand out jobs, and take them back.

A claim goes round the lanes (tenants, and the platform) that have due jobs, from the one that was served
last, and takes a job of each: so one tenant's hundred thousand jobs put another's first job behind only one
of them, and with a thousand busy tenants every lane has its turn. It hops from lane to lane through an index,
so its cost grows with the jobs it takes, neither with those that wait nor with the lanes.

Jobs that are to run later, or again, are kept apart until they are due: a claim would have to hop past them.

A job that is given up, by its own failure or by the death of its worker, is dead at once where nobody waits
for it. Where its kind has a burial, it is queued for that instead, with the attempts that come after the last
one: under a lease, tried again when it fails, and resumed by another worker like any other run
(docs/decisions/0022-jobs-have-a-burial.md).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from mis_jobs.jobs import MOST_ATTEMPTS, PLATFORM_LANE, Job

LEASE: Final = timedelta(seconds=30)
# A burial is tried as often as a job is; where even that fails, the job is dead without it.
LAST_BURIAL: Final = 2 * MOST_ATTEMPTS

_MAKE_DUE: Final = text("""
update jobs set is_due = true
 where id in (select id from jobs where state = 'queued' and not is_due and run_at <= clock_timestamp()
               order by run_at limit 1000 for update skip locked)
""")

# `fits` counts the lanes on the way that may be given a job. Every branch reads one entry of ix_jobs_claim.
_CLAIM: Final = text("""
with recursive running as materialized (
    select lane, count(*) as n from jobs where state = 'running' and leased_by = :worker group by lane
), lanes (lane, hop, has_turned, fits, left_over) as (
    select cast(:after as uuid), 0, false, 0, cast(0 as bigint)
    union all
    select next.lane, l.hop + 1, l.has_turned or next.turns, l.fits + case when room.n > 0 then 1 else 0 end,
           room.n
      from lanes l
     cross join lateral (
           (select lane, false as turns from jobs
             where state = 'queued' and is_due and lane > l.lane order by lane limit 1)
           union all
           (select lane, true from jobs where state = 'queued' and is_due order by lane limit 1)
           limit 1) next
     cross join lateral (
           select case when next.lane = :platform then cast(:of_platform as int)
                       else cast(:per_lane as int) end
                  - coalesce((select n from running r where r.lane = next.lane), 0) as n) room
     where l.fits < :slots
       and not (l.has_turned and next.turns)
       and not ((l.has_turned or next.turns) and next.lane > :after)
), share as (
    select cast(ceil(:slots / greatest(max(fits), 1.0)) as int) as n from lanes
), due as (
    select j.id, l.hop, row_number() over (partition by l.lane order by j.run_at, j.id) as turn
      from lanes l
     cross join lateral (
           select id, run_at from jobs
            where state = 'queued' and is_due and lane = l.lane
            order by run_at, id limit least(l.left_over, (select n from share))
              for update skip locked) j
     where l.hop > 0 and l.left_over > 0
), chosen as (
    select id, hop from due order by turn, hop limit :slots
)
update jobs set state = 'running', attempts = attempts + 1, leased_by = :worker,
       leased_until = clock_timestamp() + :lease
  from chosen where jobs.id = chosen.id
returning jobs.id, jobs.tenant_id, jobs.kind, jobs.payload, jobs.attempts, jobs.traceparent, jobs.lane,
          chosen.hop
""")

_RECLAIM: Final = text("""
with late as (
    select id, attempts >= case when kind = any(:mourned) then cast(:last as int) else cast(:most as int) end
           as is_over
      from jobs where state = 'running' and leased_until < clock_timestamp() for update skip locked
)
update jobs set state = case when late.is_over then 'dead' else 'queued' end,
       last_error = coalesce(last_error, 'The worker that ran it died.'), leased_by = null, leased_until =
       null, finished_at = case when late.is_over then clock_timestamp() end
  from late where jobs.id = late.id
returning jobs.id
""")

_PROLONG: Final = text("""
update jobs set leased_until = clock_timestamp() + :lease
 where id = any(:ids) and state = 'running' and leased_by = :worker
returning id
""")

# The attempt's number tells this run of the job from one that the same worker began after it lost the lease.
_FINISH: Final = text("""
update jobs set state = :state, finished_at = clock_timestamp(), leased_by = null, leased_until = null
 where id = :id and state = 'running' and leased_by = :worker and attempts = :attempt
returning id
""")

_FAIL: Final = text("""
update jobs set state = case when attempts >= :most then 'dead' else 'queued' end, is_due = false,
       run_at = clock_timestamp() + least(interval '1 second' * power(2, :again - 1), interval '15
       minutes') * (0.5 + random()), last_error = coalesce(:error, last_error), leased_by = null,
       leased_until = null, finished_at = case when attempts >= :most then clock_timestamp() end
 where id = :id and state = 'running' and leased_by = :worker and attempts = :attempt
returning state
""")

_GIVE_UP: Final = text("""
update jobs set state = 'queued', is_due = true, run_at = clock_timestamp(), attempts = :most,
       last_error = :error, leased_by = null, leased_until = null
 where id = :id and state = 'running' and leased_by = :worker and attempts = :attempt
returning id
""")

# A run that was broken off on purpose is no attempt.
_RETURN: Final = text("""
update jobs set state = 'queued', is_due = true, attempts = attempts - 1, leased_by = null,
       leased_until = null
 where id = any(:ids) and state = 'running' and leased_by = :worker
returning id
""")

_STANDING: Final = text("""
select due.n as due, due.oldest, later.n as later, running.n as running, dead.n as dead
  from (select count(*) as n, coalesce(extract(epoch from clock_timestamp() - min(run_at)), 0) as oldest
          from jobs where state = 'queued' and is_due) due,
       (select count(*) as n from jobs where state = 'queued' and not is_due) later,
       (select count(*) as n from jobs where state = 'running') running,
       (select count(*) as n from jobs where state = 'dead') dead
""")


@dataclass(frozen=True, slots=True)
class Share:
    """How many jobs of one lane a worker holds at most at a time: of a tenant's, and of the platform's."""

    per_lane: int
    of_platform: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The jobs of a claim, and the lane that the next one goes on from."""

    jobs: list[Job]
    after: UUID


@dataclass(frozen=True, slots=True)
class Standing:
    """How many jobs there are, and for how many seconds the oldest due one has waited."""

    due: int
    later: int
    running: int
    dead: int
    oldest: float


async def claim(
    session: AsyncSession, worker: str, slots: int, share: Share, after: UUID, lease: timedelta = LEASE
) -> Claim:
    """Lease up to `slots` due jobs to `worker`, going round the lanes past `after`, each to its share."""
    await session.execute(_MAKE_DUE)
    parameters = {
        "worker": worker,
        "slots": slots,
        "per_lane": share.per_lane,
        "of_platform": share.of_platform,
        "platform": PLATFORM_LANE,
        "after": after,
        "lease": lease,
    }
    rows = sorted(await session.execute(_CLAIM, parameters), key=lambda row: row.hop)
    jobs = [Job(row.id, row.tenant_id, row.kind, row.payload, row.attempts, row.traceparent) for row in rows]
    return Claim(jobs, rows[-1].lane if rows else after)


async def reclaim(session: AsyncSession, mourned: Collection[str] = ()) -> int:
    """Put back the jobs whose worker let its lease run out; return how many.

    Jobs of the `mourned` kinds have a burial.
    """
    parameters = {"most": MOST_ATTEMPTS, "last": LAST_BURIAL, "mourned": list(mourned)}
    return len((await session.execute(_RECLAIM, parameters)).all())


async def prolong(
    session: AsyncSession, jobs: Collection[UUID], worker: str, lease: timedelta = LEASE
) -> set[UUID]:
    """Push the leases of `jobs` out; return those that are still this worker's."""
    rows = await session.execute(_PROLONG, {"ids": list(jobs), "worker": worker, "lease": lease})
    return set(rows.scalars())


async def finish(session: AsyncSession, job: Job, worker: str) -> bool:
    """Mark the job done, or dead after its burial; return whether it was still this worker's."""
    named = {"id": job.id, "worker": worker, "attempt": job.attempt}
    row = await session.execute(_FINISH, named | {"state": "dead" if job.is_burial else "done"})
    return row.first() is not None


async def fail(
    session: AsyncSession, job: Job, worker: str, error: str, *, for_good: bool = False
) -> str | None:
    """Queue the job again after about 1 s, 2 s, 4 s …, or give it up after the last attempt or `for_good`.

    Return its new state, None where it is another worker's by now. The waits are spread by half, so that
    jobs which failed together do not come back together. A burial that fails leaves the error of the job.
    """
    parameters = {
        "id": job.id,
        "worker": worker,
        "attempt": job.attempt,
        "again": (job.attempt - 1) % MOST_ATTEMPTS + 1,
        "error": None if job.is_burial else error[:2000],
        "most": LAST_BURIAL if job.is_burial else 0 if for_good else MOST_ATTEMPTS,
    }
    row = (await session.execute(_FAIL, parameters)).first()
    return None if row is None else str(row.state)


async def give_up(session: AsyncSession, job: Job, worker: str, error: str) -> bool:
    """Queue the burial of a job that has failed for good; return whether it was still this worker's."""
    named = {"id": job.id, "worker": worker, "attempt": job.attempt}
    row = await session.execute(_GIVE_UP, named | {"most": MOST_ATTEMPTS, "error": error[:2000]})
    return row.first() is not None


async def give_back(session: AsyncSession, jobs: Collection[UUID], worker: str) -> None:
    """Queue jobs again that the worker leaves unfinished, for a successor to take at once."""
    await session.execute(_RETURN, {"ids": list(jobs), "worker": worker})


async def standing(session: AsyncSession) -> Standing:
    """Return how the queue stands over all tenants."""
    row = (await session.execute(_STANDING)).one()
    return Standing(row.due, row.later, row.running, row.dead, float(row.oldest))
