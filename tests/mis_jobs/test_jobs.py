"""Jobs on real Postgres: enqueued with their cause, claimed fairly, leased, retried, surviving a crash."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from mis_jobs import repository
from mis_jobs.jobs import MOST_ATTEMPTS, Job, enqueue
from mis_jobs.runner import Runner
from mis_jobs.schedules import Schedule, tick
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from tests.servers import TestServers


@pytest.fixture
async def platform(test_servers: TestServers) -> AsyncIterator[Database]:
    database = Database(test_servers.database("jobs").platform)
    await database.start()
    async with database.platform_transaction() as session:
        await session.execute(text("delete from jobs"))
    yield database
    await database.stop()


async def add(
    database: Database, count: int, *, tenant: UUID | None = None, kind: str = "note"
) -> list[UUID]:
    async with database.platform_transaction() as session:
        ids = [await enqueue(session, kind, {"number": n}, tenant_id=tenant) for n in range(count)]
    return [job for job in ids if job is not None]


async def claim(database: Database, slots: int, per_lane: int = 100, worker: str = "w") -> list[Job]:
    async with database.platform_transaction() as session:
        return await repository.claim(session, worker, slots, per_lane)


async def state_of(database: Database, job: UUID) -> str:
    async with database.platform_transaction() as session:
        return str(await session.scalar(text("select state from jobs where id = :id"), {"id": job}))


async def test_a_job_enqueued_in_a_transaction_that_rolls_back_does_not_exist(platform: Database) -> None:
    async def enqueue_and_fail() -> None:
        async with platform.platform_transaction() as session:
            await enqueue(session, "note", {}, tenant_id=None)
            raise LookupError

    with pytest.raises(LookupError):
        await enqueue_and_fail()
    assert await claim(platform, 10) == []


async def test_many_jobs_of_one_tenant_do_not_delay_the_first_job_of_another(platform: Database) -> None:
    """Catalogue 105."""
    busy, quiet = new_id(), new_id()
    await add(platform, 50, tenant=busy)
    (only,) = await add(platform, 1, tenant=quiet)
    claimed = await claim(platform, 2)
    assert only in [job.id for job in claimed]
    assert {job.tenant_id for job in claimed} == {busy, quiet}


async def test_one_lane_never_holds_more_than_its_share_of_slots(platform: Database) -> None:
    await add(platform, 20, tenant=new_id())
    assert len(await claim(platform, 10, per_lane=3)) == 3
    assert await claim(platform, 10, per_lane=3) == []


async def test_two_workers_never_claim_the_same_job(platform: Database) -> None:
    await add(platform, 40, tenant=new_id())
    claims = await asyncio.gather(*(claim(platform, 10, worker=f"w{n}") for n in range(6)))
    ids = [job.id for jobs in claims for job in jobs]
    assert len(ids) == len(set(ids))


async def test_a_job_whose_worker_died_is_claimed_again_after_its_lease(platform: Database) -> None:
    """Catalogue 118."""
    (job,) = await add(platform, 1)
    await claim(platform, 1)
    async with platform.platform_transaction() as session:
        assert await repository.reclaim(session) == 0
        await session.execute(text("update jobs set leased_until = now() - interval '1 second'"))
        assert await repository.reclaim(session) == 1
    (again,) = await claim(platform, 1, worker="successor")
    assert (again.id, again.attempt) == (job, 2)


async def test_a_worker_that_lost_its_lease_cannot_finish_the_job_of_its_successor(
    platform: Database,
) -> None:
    (job,) = await add(platform, 1)
    await claim(platform, 1, worker="first")
    async with platform.platform_transaction() as session:
        await session.execute(text("update jobs set leased_until = now() - interval '1 second'"))
        await repository.reclaim(session)
    await claim(platform, 1, worker="second")
    async with platform.platform_transaction() as session:
        assert not await repository.finish(session, job, "first")
        assert await repository.finish(session, job, "second")


async def test_a_job_that_keeps_failing_is_buried_after_its_last_attempt(platform: Database) -> None:
    (job,) = await add(platform, 1)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        async with platform.platform_transaction() as session:
            await session.execute(text("update jobs set run_at = now()"))
        await claim(platform, 1)
        async with platform.platform_transaction() as session:
            state = await repository.fail(session, job, "w", "no luck")
        assert state == ("dead" if attempt == MOST_ATTEMPTS else "queued")


async def test_a_dedupe_key_lets_only_one_unfinished_job_stand(platform: Database) -> None:
    async with platform.platform_transaction() as session:
        first = await enqueue(session, "roll", {}, tenant_id=None, dedupe_key="today")
        assert await enqueue(session, "roll", {}, tenant_id=None, dedupe_key="today") is None
        await session.execute(text("update jobs set state = 'done' where id = :id"), {"id": first})
        assert await enqueue(session, "roll", {}, tenant_id=None, dedupe_key="today") is not None


async def test_a_schedule_is_due_once_per_interval_however_many_workers_tick(platform: Database) -> None:
    name = f"schedule-{new_id()}"
    schedules = [Schedule(name, timedelta(hours=1))]
    now = datetime.now(UTC)

    async def one_tick(moment: datetime) -> list[str]:
        async with platform.platform_transaction() as session:
            return await tick(session, schedules, moment)

    ticks = await asyncio.gather(*(one_tick(now) for _ in range(5)))
    assert [started for names in ticks for started in names] == [name]
    assert await one_tick(now + timedelta(minutes=59)) == []


async def test_a_runner_works_off_what_is_there_retries_failures_and_stops_cleanly(
    platform: Database,
) -> None:
    tried: list[int] = []
    done = asyncio.Event()

    async def note(job: Job) -> None:
        tried.append(job.attempt)
        if job.attempt == 1:
            raise LookupError("the first time always fails")
        done.set()

    (job,) = await add(platform, 1)
    runner = Runner(platform, None, {"note": note}, [])
    task = asyncio.create_task(runner.run())
    async with asyncio.timeout(20):
        await done.wait()
        while await state_of(platform, job) != "done":  # noqa: ASYNC110  # the database sets no event
            await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert tried == [1, 2]
