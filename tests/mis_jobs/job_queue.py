"""What tests of the queue share: jobs in it, claims from it, and runners that end with the test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import text

from mis_jobs import repository
from mis_jobs.jobs import PLATFORM_LANE, Job, enqueue
from mis_jobs.runner import Runner
from mis_jobs.runs import Handler
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from mis_tenancy.redis import Redis

# Generous, because the machine may be busy; no test's verdict depends on it.
PATIENCE = 30.0

MANY = """
insert into jobs (id, tenant_id, lane, kind, payload, state, run_at, is_due, created_at)
select gen_random_uuid(), lanes.id, lanes.id, 'note', '{}', 'queued', now() - interval '1 minute', true, now()
  from (select gen_random_uuid() as id from generate_series(1, :lanes)) lanes, generate_series(1, :jobs)
"""


async def add(
    database: Database, count: int, *, tenant: UUID | None = None, kind: str = "note"
) -> list[UUID]:
    """Enqueue jobs in one transaction and return their ids."""
    async with database.platform_transaction() as session:
        ids = [await enqueue(session, kind, {"number": n}, tenant_id=tenant) for n in range(count)]
    return [job for job in ids if job is not None]


async def add_many(database: Database, *, lanes: int, jobs: int) -> None:
    """Enqueue so many jobs for each of so many new tenants, all of them a minute ago."""
    async with database.platform_transaction() as session:
        await session.execute(text(MANY), {"lanes": lanes, "jobs": jobs})


async def claim(
    database: Database, slots: int, per_lane: int = 100, worker: str = "w", after: UUID = PLATFORM_LANE
) -> list[Job]:
    """Claim once, from the beginning of the round or from where `after` says."""
    async with database.platform_transaction() as session:
        share = repository.Share(per_lane, 2 * per_lane)
        return (await repository.claim(session, worker, slots, share, after)).jobs


async def let_leases_run_out(database: Database, mourned: Sequence[str] = ()) -> None:
    """Make every lease an old one, and take the jobs back; kinds that are `mourned` have a burial."""
    async with database.platform_transaction() as session:
        await session.execute(text("update jobs set leased_until = now() - interval '1 second'"))
        await repository.reclaim(session, mourned)


async def job_of(database: Database, job: UUID) -> dict[str, Any]:
    """Return the job's row."""
    async with database.platform_transaction() as session:
        row = await session.execute(text("select * from jobs where id = :id"), {"id": job})
        return dict(row.one()._mapping)


async def state_of(database: Database, job: UUID) -> str:
    """Return the job's state."""
    return str((await job_of(database, job))["state"])


async def until(database: Database, job: UUID, state: str) -> None:
    """Wait until the job is in that state."""
    async with asyncio.timeout(PATIENCE):
        while await state_of(database, job) != state:  # noqa: ASYNC110  # the database sets no event
            await asyncio.sleep(0.02)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something holds that no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.01)


async def failed(database: Database, job: UUID) -> dict[str, Any]:
    """Wait until a run of the job has failed, and return the job's row."""
    async with asyncio.timeout(PATIENCE):
        while (row := await job_of(database, job))["last_error"] is None:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.02)
    return row


@asynccontextmanager
async def working(
    database: Database,
    handlers: Mapping[str, Handler],
    schedules: Sequence[Schedule] = (),
    redis: Redis | None = None,
    **options: Any,
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a worker beside the block."""
    task = asyncio.create_task(Runner(database, redis, handlers, schedules, **options).run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
