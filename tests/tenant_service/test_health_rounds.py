"""Rounds of probes in batches: any number of workers share them, and nobody is probed twice in one."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from mis_cli.embedded import DatabaseUrls
from mis_jobs.jobs import Job
from mis_jobs.repository import Share
from mis_jobs.runs import Handler
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.storage import Storage
from tenant_service.health import jobs, repository
from tenant_service.health.jobs import BATCH, PROBES, ProbeRounds
from tenant_service.health.metrics import ProbeMetrics
from tenant_service.health.probes import Probes
from tenant_service.health.service import Health
from tenant_service.health.verdicts import Probe
from tests.database import connected
from tests.mis_jobs.job_queue import PATIENCE, working
from tests.servers import TestServers

TENANTS = 11
_FILL = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
select gen_random_uuid(), 'T', 'round-' || n, 'round-' || n, 'basic',
       case when n > $1 then 'suspended' else 'active' end, now(), now(), now()
  from generate_series(1, $1 + 2) n
returning 1
"""
_OPEN = text("select payload from jobs where kind = :kind and state in ('queued', 'running') order by id")
_FINISH = text("update jobs set state = 'done' where dedupe_key = '0'")


class Counting(Health):
    """Notes whom it probes; `gate` is passed before each probe."""

    def __init__(self, application: Database, probes: Probes) -> None:
        super().__init__(application, probes)
        self.probed: list[UUID] = []
        self.gate: asyncio.Barrier | None = None

    async def probe(self, tenant_id: UUID) -> Probe:
        self.probed.append(tenant_id)
        if self.gate is not None and len(self.probed) == 1:
            await self.gate.wait()
        return await super().probe(tenant_id)


class Round:
    """A worker's parts over a database in which eleven tenants are due."""

    def __init__(self, platform: Database, application: Database, store: Path) -> None:
        self.platform = platform
        self.health = Counting(application, Probes(application, None, Storage(store.as_uri())))
        self.rounds = ProbeRounds(platform, self.health, ProbeMetrics(CollectorRegistry()))

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {PROBES: self.rounds.plan, BATCH: self.rounds.probe}

    async def plan(self) -> list[Job]:
        """Plan a round and return the batches that are open then."""
        await self.rounds.plan(Job(new_id(), None, PROBES, {}, 1))
        return [Job(new_id(), None, BATCH, payload, 1) for payload in await self.open()]

    async def open(self) -> list[dict[str, str]]:
        async with self.platform.platform_transaction() as session:
            return [row.payload for row in await session.execute(_OPEN, {"kind": BATCH})]

    async def over(self) -> None:
        """Wait until no batch is open."""
        async with asyncio.timeout(PATIENCE):
            while await self.open():  # noqa: ASYNC110  # the database sets no event
                await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def urls(test_servers: TestServers) -> DatabaseUrls:
    return test_servers.database("health_rounds")


@pytest.fixture
async def databases(urls: DatabaseUrls) -> AsyncIterator[tuple[Database, Database]]:
    async with connected(urls.owner) as owner:
        await owner.execute("delete from jobs")
        await owner.execute("delete from tenant_probes")
        await owner.execute("delete from tenant_counters")
        await owner.execute("delete from tenants")
        await owner.execute(_FILL, TENANTS)
        await owner.execute(
            "insert into tenant_counters (tenant_id, users) select id, 1 from tenants returning 1"
        )
    platform, application = Database(urls.platform), Database(urls.app)
    for database in (platform, application):
        await database.start()
    yield platform, application
    for database in (platform, application):
        await database.stop()


@pytest.fixture
def going(databases: tuple[Database, Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Round:
    monkeypatch.setattr(jobs, "_SIZE", 2)
    return Round(*databases, tmp_path)


async def probes(database: Database) -> Counter[UUID]:
    async with database.platform_transaction() as session:
        return Counter((await session.scalars(text("select tenant_id from tenant_probes"))).all())


async def test_batches_hold_everybody_who_is_due_once(going: Round) -> None:
    async with going.platform.platform_transaction() as session:
        everybody = await repository.due_tenants(session, jobs._BUSY, jobs._QUIET)
        assert len(everybody) == TENANTS
        for size in (2, 3, 4, 10, 11, 12):
            batches = await repository.due_batches(session, jobs._BUSY, jobs._QUIET, size)
            parts = [
                await repository.due_tenants(session, jobs._BUSY, jobs._QUIET, batch) for batch in batches
            ]
            assert sorted(map(len, parts), reverse=True) == [
                min(size, TENANTS - start) for start in range(0, TENANTS, size)
            ]
            assert sorted(one for part in parts for one in part) == sorted(everybody)


async def test_two_workers_share_a_round_and_probe_each_tenant_once(
    going: Round, databases: tuple[Database, Database], tmp_path: Path
) -> None:
    other, share = Round(*databases, tmp_path), Share(1, 1)
    # Neither goes on before both have begun.
    going.health.gate = other.health.gate = asyncio.Barrier(2)
    await going.plan()
    async with (
        working(going.platform, going.handlers, share=share),
        working(other.platform, other.handlers, share=share),
    ):
        await going.over()
    assert min(len(going.health.probed), len(other.health.probed)) > 0
    assert Counter(going.health.probed + other.health.probed) == await probes(going.platform)
    assert list((await probes(going.platform)).values()) == [1] * TENANTS


async def test_a_batch_that_is_resumed_probes_only_whom_it_had_not(going: Round) -> None:
    (batch, *_) = await going.plan()
    everyone = Job(new_id(), None, BATCH, batch.payload | {"last": str(repository.EVERYONE.last)}, 1)
    kept = asyncio.Event()
    keep = going.health._keep

    async def killed(tenant_id: UUID, *found: object) -> Probe:
        if kept.is_set():
            await asyncio.Event().wait()
        kept.set()
        return await keep(tenant_id, *found)  # type: ignore[arg-type]  # as it was called

    going.health._keep = killed  # type: ignore[method-assign,assignment]  # stops after the first
    run = asyncio.create_task(going.rounds.probe(everyone))
    async with asyncio.timeout(PATIENCE):
        while not await probes(going.platform):  # noqa: ASYNC110  # the database sets no event
            await asyncio.sleep(0.02)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert len(await probes(going.platform)) == 1
    going.health._keep = keep  # type: ignore[method-assign]  # as it was
    await going.rounds.probe(everyone)
    assert list((await probes(going.platform)).values()) == [1] * TENANTS


async def test_a_new_round_begins_when_nothing_of_the_last_one_is_left(going: Round) -> None:
    assert len(await going.plan()) == 6
    planned = await going.open()
    async with going.platform.platform_transaction() as session:
        await session.execute(_FINISH)
    await going.plan()
    assert await going.open() == planned[1:]
    async with working(going.platform, going.handlers):
        await going.over()
    # Only those are due whose batch did not run.
    (left,) = await going.plan()
    assert left.payload == planned[0]


async def test_a_batch_whose_tenants_cannot_be_read_is_left_to_the_next_round(
    going: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    (batch, *_) = await going.plan()

    async def broken(*_: object) -> list[UUID]:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(repository, "due_tenants", broken)
        await going.rounds.probe(batch)
    assert await probes(going.platform) == Counter()


async def test_batches_in_one_worker_share_what_it_does_at_once(going: Round) -> None:
    peak = running = 0
    probe = going.health.probe

    async def watched(tenant_id: UUID) -> Probe:
        nonlocal peak, running
        running += 1
        peak = max(peak, running)
        found = await probe(tenant_id)
        running -= 1
        return found

    going.health.probe = watched  # type: ignore[method-assign]  # it only counts
    going.rounds._turns = asyncio.Semaphore(2)
    await asyncio.gather(*map(going.rounds.probe, await going.plan()))
    assert peak == 2
    assert list((await probes(going.platform)).values()) == [1] * TENANTS
