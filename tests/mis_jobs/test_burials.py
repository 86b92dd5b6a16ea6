"""Jobs that are given up: whoever waits for one is told, whatever becomes of the workers meanwhile."""

import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import text

from mis_jobs.jobs import MOST_ATTEMPTS, Job, PermanentFailure
from mis_jobs.repository import LAST_BURIAL
from mis_tenancy.database import Database
from tests.mis_jobs.job_queue import (
    add,
    claim,
    eventually,
    job_of,
    let_leases_run_out,
    until,
    working,
)
from tests.mis_jobs.test_runner import worker_process
from tests.servers import TestServers

DIED = "The worker that ran it died."


async def never(job: Job) -> None:
    raise AssertionError("It has no attempts left.")


class Mourner:
    """A burial that notes what it is told of, and fails as often as it is asked to."""

    def __init__(self, fails: int = 0) -> None:
        self.attempts: list[int] = []
        self._fails = fails

    async def __call__(self, job: Job) -> None:
        self.attempts.append(job.attempt)
        if len(self.attempts) <= self._fails:
            raise OSError("The store is away.")


async def set_attempts(platform: Database, attempts: int) -> None:
    async with platform.platform_transaction() as session:
        await session.execute(text("update jobs set attempts = :n"), {"n": attempts})


async def test_a_worker_that_is_killed_in_the_last_attempt_leaves_a_job_that_is_buried_once(
    platform: Database, test_servers: TestServers, tmp_path: Path
) -> None:
    """Catalogue 118."""
    steps, mourner = tmp_path / "steps", Mourner()
    steps.touch()
    (job,) = await add(platform, 1, kind="steps")
    await set_attempts(platform, MOST_ATTEMPTS - 1)
    process = await worker_process(test_servers.database("jobs").platform, steps)
    await eventually(lambda: len(steps.read_text().split()) >= 2)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    async with working(platform, {"steps": never}, burials={"steps": mourner}):
        await until(platform, job, "dead")
    assert mourner.attempts == [MOST_ATTEMPTS + 1]
    row = await job_of(platform, job)
    assert (row["last_error"], row["leased_by"], row["finished_at"] is None) == (DIED, None, False)


async def test_a_job_that_fails_for_good_is_buried_with_its_own_error(platform: Database) -> None:
    mourner = Mourner(fails=2)

    async def fail(job: Job) -> None:
        raise PermanentFailure("The archive is damaged.")

    (job,) = await add(platform, 1)
    async with working(platform, {"note": fail}, burials={"note": mourner}):
        await until(platform, job, "dead")
    assert mourner.attempts == [MOST_ATTEMPTS + 1, MOST_ATTEMPTS + 2, MOST_ATTEMPTS + 3]
    assert (await job_of(platform, job))["last_error"] == "The archive is damaged."


async def test_the_last_failure_is_followed_by_the_burial(platform: Database) -> None:
    mourner = Mourner()

    async def fail(job: Job) -> None:
        raise OSError("away")

    (job,) = await add(platform, 1)
    await set_attempts(platform, MOST_ATTEMPTS - 1)
    async with working(platform, {"note": fail}, burials={"note": mourner}):
        await until(platform, job, "dead")
    assert mourner.attempts == [MOST_ATTEMPTS + 1]
    assert (await job_of(platform, job))["last_error"] == "OSError"


async def test_a_worker_that_dies_over_a_burial_is_followed_by_one_that_holds_it(platform: Database) -> None:
    """Catalogue 118."""
    mourner = Mourner()
    (job,) = await add(platform, 1)
    await set_attempts(platform, MOST_ATTEMPTS)
    assert [one.is_burial for one in await claim(platform, 1)] == [True]
    async with platform.platform_transaction() as session:
        await session.execute(text("update jobs set leased_until = now() - interval '1 second'"))
    async with working(platform, {"note": never}, burials={"note": mourner}):
        await until(platform, job, "dead")
    assert mourner.attempts == [MOST_ATTEMPTS + 2]


@pytest.mark.parametrize(("attempts", "mourned"), [(MOST_ATTEMPTS, False), (LAST_BURIAL, True)])
async def test_where_nobody_waits_or_no_burial_works_the_job_is_dead_at_once(
    platform: Database, attempts: int, *, mourned: bool
) -> None:
    (job,) = await add(platform, 1)
    await set_attempts(platform, attempts - 1)
    await claim(platform, 1)
    await let_leases_run_out(platform, ["note"] if mourned else [])
    assert (await job_of(platform, job))["state"] == "dead"


async def test_a_burial_that_never_works_is_given_up(platform: Database) -> None:
    mourner = Mourner(fails=100)
    (job,) = await add(platform, 1)
    await set_attempts(platform, LAST_BURIAL - 1)
    async with working(platform, {"note": never}, burials={"note": mourner}):
        await until(platform, job, "dead")
    assert mourner.attempts == [LAST_BURIAL]
