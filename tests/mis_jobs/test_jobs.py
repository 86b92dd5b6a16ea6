"""Jobs on real Postgres: enqueued with their cause, claimed fairly, leased, retried, surviving a crash."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mis_jobs import repository
from mis_jobs.jobs import MOST_ATTEMPTS, enqueue
from mis_jobs.schedules import Schedule, tick
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from tests.mis_jobs.job_queue import add, claim, job_of, let_leases_run_out


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
    await add(platform, 1)
    (lost,) = await claim(platform, 1, worker="first")
    await let_leases_run_out(platform)
    (taken,) = await claim(platform, 1, worker="second")
    async with platform.platform_transaction() as session:
        assert not await repository.finish(session, lost, "first")
        assert await repository.finish(session, taken, "second")


async def test_a_run_that_lost_its_lease_cannot_end_the_next_run_of_the_same_worker(
    platform: Database,
) -> None:
    await add(platform, 1)
    (lost,) = await claim(platform, 1)
    await let_leases_run_out(platform)
    (again,) = await claim(platform, 1)
    async with platform.platform_transaction() as session:
        assert not await repository.finish(session, lost, "w")
        assert await repository.fail(session, lost, "w", "no luck") is None
        assert await repository.finish(session, again, "w")


async def test_a_job_that_keeps_failing_is_buried_after_its_last_attempt(platform: Database) -> None:
    (job,) = await add(platform, 1)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        async with platform.platform_transaction() as session:
            await session.execute(text("update jobs set run_at = now()"))
        (claimed,) = await claim(platform, 1)
        assert (claimed.id, claimed.is_last_attempt) == (job, attempt == MOST_ATTEMPTS)
        async with platform.platform_transaction() as session:
            state = await repository.fail(session, claimed, "w", "no luck")
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


async def test_a_job_for_later_is_not_claimed_before_its_time(platform: Database) -> None:
    async with platform.platform_transaction() as session:
        now = datetime.now(UTC)
        later = await enqueue(session, "note", {}, tenant_id=None, run_at=now + timedelta(hours=1))
        due = await enqueue(session, "note", {}, tenant_id=None, run_at=now - timedelta(seconds=1))
    assert [job.id for job in await claim(platform, 10)] == [due]
    async with platform.platform_transaction() as session:
        await session.execute(text("update jobs set run_at = now()"))
    assert [job.id for job in await claim(platform, 10)] == [later]


async def test_jobs_that_fail_together_do_not_come_back_together(platform: Database) -> None:
    jobs = await add(platform, 20)
    claimed = await claim(platform, 20)
    async with platform.platform_transaction() as session:
        for job in claimed:
            assert await repository.fail(session, job, "w", "no luck") == "queued"
    rows = [await job_of(platform, job) for job in jobs]
    waits = sorted(row["run_at"] for row in rows)
    assert waits[-1] - waits[0] > timedelta(milliseconds=100)
    assert not any(row["is_due"] for row in rows)
