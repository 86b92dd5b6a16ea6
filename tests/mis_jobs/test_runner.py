"""A worker's runs: retried, buried, stopped with their lease, given back at the end, resumed after a kill."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from mis_jobs.jobs import Job, PermanentFailure, enqueue
from mis_jobs.runner import Runner
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.tracing import standing_at
from tests.database import CountingProxy
from tests.mis_jobs.job_queue import PATIENCE, add, claim, eventually, failed, job_of, until, working
from tests.servers import TestServers

CHILD: Final = Path(__file__).with_name("worker_child.py")


class Held:
    """A handler that runs until it is let go, and tells how its runs began and ended."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.let_go = asyncio.Event()
        self.stopped = asyncio.Event()

    async def __call__(self, job: Job) -> None:
        self.begun.release()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise


async def test_a_run_that_fails_is_tried_again(platform: Database) -> None:
    tried: list[int] = []

    async def note(job: Job) -> None:
        tried.append(job.attempt)
        if job.attempt == 1:
            raise LookupError("the first time always fails")

    (job,) = await add(platform, 1)
    async with working(platform, {"note": note}):
        await until(platform, job, "done")
    assert tried == [1, 2]


async def test_a_run_leaves_a_line_that_tells_whose_it_was_how_it_ended_and_what_caused_it(
    platform: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mis_jobs.runs.log", structlog.get_logger())
    cause, tenant = f"00-{'ab' * 16}-{'cd' * 8}-01", new_id()

    async def pass_on(job: Job) -> None:
        if job.payload["number"] == 0:
            async with platform.platform_transaction() as session:
                await enqueue(session, "note", {"number": 1}, tenant_id=tenant)

    with standing_at(cause):
        (job,) = await add(platform, 1, tenant=tenant)
    with structlog.testing.capture_logs() as logs:
        async with working(platform, {"note": pass_on}):
            await until(platform, job, "done")
            await eventually(lambda: len([line for line in logs if line["event"] == "job"]) == 2)
    # The second one may be over before the first one's line is written.
    lines = [line for line in logs if line["event"] == "job"]
    first, second = sorted(lines, key=lambda line: bool(line["job"] != str(job)))
    assert (first["job"], first["kind"], first["attempt"], first["outcome"]) == (str(job), "note", 1, "done")
    for line in (first, second):
        assert (line["tenant_id"], line["cause_trace_id"]) == (str(tenant), "ab" * 16)
        assert line["duration_ms"] >= 0


async def test_a_permanent_failure_buries_the_job_at_once_and_says_why(platform: Database) -> None:
    async def note(job: Job) -> None:
        raise PermanentFailure("The archive is damaged. Upload it again.")

    (job,) = await add(platform, 1)
    async with working(platform, {"note": note}):
        await until(platform, job, "dead")
    row = await job_of(platform, job)
    assert (row["attempts"], row["last_error"]) == (1, "The archive is damaged. Upload it again.")
    assert row["finished_at"] is not None


async def test_of_a_librarys_failure_only_the_name_is_kept(platform: Database) -> None:
    """Catalogue 134."""

    async def note(job: Job) -> None:
        raise ValueError("duplicate key: ada@example.com, password hunter2")

    (job,) = await add(platform, 1)
    async with working(platform, {"note": note}):
        row = await failed(platform, job)
    assert row["last_error"] == "ValueError"


async def test_a_kind_that_only_a_newer_worker_knows_is_left_for_it(platform: Database) -> None:
    (job,) = await add(platform, 1, kind="of tomorrow")
    async with working(platform, {}):
        row = await failed(platform, job)
    assert row["state"] == "queued"

    async def run(job: Job) -> None:
        pass

    async with working(platform, {"of tomorrow": run}):
        await until(platform, job, "done")


async def test_a_run_whose_job_is_another_workers_by_now_is_stopped(platform: Database) -> None:
    held = Held()
    (job,) = await add(platform, 1)
    async with working(platform, {"note": held}, lease=timedelta(seconds=1.5)), asyncio.timeout(PATIENCE):
        await held.begun.acquire()
        async with platform.platform_transaction() as session:
            await session.execute(text("update jobs set leased_by = 'another'"))
        await held.stopped.wait()
    assert (await job_of(platform, job))["leased_by"] == "another"


async def test_a_run_whose_lease_cannot_be_prolonged_is_stopped_before_another_worker_has_its_job(
    platform: Database, test_servers: TestServers
) -> None:
    held = Held()
    (job,) = await add(platform, 1)
    async with CountingProxy(test_servers.database("jobs").platform) as proxy:
        cut_off = Database(proxy.url)
        await cut_off.start()
        runner = Runner(cut_off, None, {"note": held}, [], lease=timedelta(seconds=1.5))
        task = asyncio.create_task(runner.run())
        async with asyncio.timeout(PATIENCE):
            await held.begun.acquire()
            proxy.silence()
            await held.stopped.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await cut_off.stop()
    assert (await job_of(platform, job))["state"] == "running"


async def test_a_worker_that_stops_lets_short_jobs_end_and_gives_the_others_back_at_once(
    platform: Database,
) -> None:
    short, long = Held(), Held()
    (brief,) = await add(platform, 1, kind="short")
    (endless,) = await add(platform, 1, kind="long")
    async with working(platform, {"short": short, "long": long}) as task, asyncio.timeout(PATIENCE):
        await short.begun.acquire()
        await long.begun.acquire()
        task.cancel()
        await asyncio.sleep(0)
        short.let_go.set()
        await asyncio.wait([task])
    assert await job_of(platform, brief) | {"state": "done", "attempts": 1} == await job_of(platform, brief)
    row = await job_of(platform, endless)
    assert (row["state"], row["attempts"], row["leased_by"]) == ("queued", 0, None)
    assert [job.id for job in await claim(platform, 1)] == [endless]


async def test_several_workers_run_a_schedule_once(platform: Database) -> None:
    name = f"schedule-{new_id()}"
    runs: list[UUID] = []

    async def run(job: Job) -> None:
        runs.append(job.id)

    schedules = [Schedule(name, timedelta(hours=1))]
    workers = [Runner(platform, None, {name: run}, schedules) for _ in range(3)]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    await eventually(lambda: bool(runs))
    # Every worker has looked at the clock once more.
    await asyncio.sleep(2.5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(runs) == 1


async def test_metrics_tell_how_runs_ended_and_what_waits(platform: Database) -> None:
    async def note(job: Job) -> None:
        if job.payload["number"] == 0:
            raise PermanentFailure("No luck.")

    jobs = await add(platform, 3)
    runner = Runner(platform, None, {"note": note}, [])
    task = asyncio.create_task(runner.run())
    await until(platform, jobs[0], "dead")
    for job in jobs[1:]:
        await until(platform, job, "done")
    await runner.count()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(runner.metrics.render().decode())
        for sample in family.samples
    }
    assert samples["mis_job_runs_total", "done", "note"] == 2
    assert samples["mis_job_runs_total", "dead", "note"] == 1
    assert samples["mis_jobs", "dead"] == 1
    assert samples["mis_jobs", "due"] == 0
    assert samples["mis_jobs_oldest_seconds",] == 0


async def worker_process(url: str, steps: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, str(CHILD), url, str(steps))


async def test_a_killed_workers_job_goes_on_where_it_was(
    platform: Database, test_servers: TestServers, tmp_path: Path
) -> None:
    """Catalogue 118."""
    steps = tmp_path / "steps"
    steps.touch()
    (job,) = await add(platform, 1, kind="steps")
    for kill_at in (3, None):
        process = await worker_process(test_servers.database("jobs").platform, steps)
        if kill_at is None:
            await until(platform, job, "done")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            break
        await eventually(lambda at=kill_at: len(steps.read_text().split()) >= at)  # type: ignore[misc]
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        assert (await job_of(platform, job))["state"] == "running"
    done = [int(step) for step in steps.read_text().split()]
    assert sorted(set(done)) == list(range(20))
    # The step under way may be done again by the successor, and none is left out.
    assert len(done) <= 21
    assert (await job_of(platform, job))["attempts"] == 2


@pytest.mark.deep
async def test_a_hundred_thousand_jobs_of_one_tenant_do_not_delay_another_ones_first(
    platform: Database,
) -> None:
    """Catalogue 105: two seconds, while every slot that the busy tenant may have is taken."""
    loop = asyncio.get_running_loop()
    started: dict[UUID, float] = {}

    async def note(job: Job) -> None:
        started[job.id] = loop.time()
        await asyncio.sleep(0.05)

    async with platform.platform_transaction() as session:
        await session.execute(
            text(
                "insert into jobs (id, tenant_id, lane, kind, payload, state, run_at, is_due, created_at) "
                "select gen_random_uuid(), :busy, :busy, 'note', '{}', 'queued', now(), true, now() "
                "from generate_series(1, 100000)"
            ),
            {"busy": new_id()},
        )
    async with working(platform, {"note": note}):
        await eventually(lambda: len(started) >= 50)
        for _ in range(5):
            asked = loop.time()
            (job,) = await add(platform, 1, tenant=new_id())
            await eventually(partial(started.__contains__, job))
            assert started[job] - asked < 2
