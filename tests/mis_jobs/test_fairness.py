"""The claim goes round: nobody waits for another tenant's queue, however long that is and however many."""

from collections import Counter
from uuid import UUID, uuid4

from sqlalchemy import text

from mis_jobs import repository
from mis_jobs.jobs import PLATFORM_LANE
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from tests.database import connected
from tests.mis_jobs.job_queue import add, add_many, claim
from tests.plans import scans_of
from tests.servers import TestServers


async def work_off(platform: Database, slots: int, claims: int, after: UUID) -> list[UUID]:
    """Claim and finish so often, going round as a worker does; return the lanes served, in order."""
    served: list[UUID] = []
    for _ in range(claims):
        async with platform.platform_transaction() as session:
            claimed = await repository.claim(session, "w", slots, repository.Share(slots, slots), after)
            for job in claimed.jobs:
                await repository.finish(session, job, "w")
        served += [job.tenant_id for job in claimed.jobs if job.tenant_id is not None]
        after = claimed.after
    return served


async def test_two_thousand_jobs_of_one_tenant_let_the_job_of_another_into_the_next_claim(
    platform: Database,
) -> None:
    """Catalogue 105."""
    busy, quiet = new_id(), new_id()
    async with platform.platform_transaction() as session:
        await session.execute(
            text(
                "insert into jobs (id, tenant_id, lane, kind, payload, state, run_at, is_due, created_at) "
                "select gen_random_uuid(), :busy, :busy, 'note', '{}', 'queued', now(), true, now() "
                "from generate_series(1, 2000)"
            ),
            {"busy": busy},
        )
    (only,) = await add(platform, 1, tenant=quiet)
    for after in (PLATFORM_LANE, busy, quiet, uuid4()):
        async with platform.platform_transaction() as session:
            claimed = await repository.claim(session, "w", 2, repository.Share(100, 100), after)
            assert only in [job.id for job in claimed.jobs]
            await repository.give_back(session, [job.id for job in claimed.jobs], "w")


async def test_with_many_busy_tenants_a_new_job_waits_for_one_round_and_no_longer(platform: Database) -> None:
    """Catalogue 105: the newest job is the last in time, and still nobody is served twice before it."""
    await add_many(platform, lanes=40, jobs=30)
    started = await work_off(platform, 1, 7, uuid4())
    quiet = new_id()
    await add(platform, 1, tenant=quiet)
    served = await work_off(platform, 1, 41, started[-1])
    assert quiet in served
    assert set(Counter(served).values()) == {1}


async def test_one_round_serves_every_tenant_however_many_slots_are_free(platform: Database) -> None:
    await add_many(platform, lanes=40, jobs=30)
    served = await work_off(platform, 7, 12, uuid4())
    assert max(Counter(served).values()) - min(Counter(served).values()) <= 1
    assert len(served) == 84


async def test_one_tenant_alone_gets_its_whole_share_in_one_claim(platform: Database) -> None:
    tenant = new_id()
    jobs = await add(platform, 20, tenant=tenant)
    claimed = await claim(platform, 16, per_lane=4)
    # Ids of one millisecond are in no order, and jobs of one moment go by their ids.
    assert sorted(job.id for job in claimed) == sorted(jobs)[:4]


async def test_a_tenant_at_its_share_is_passed_over_for_the_others(platform: Database) -> None:
    busy, quiet = sorted((new_id(), new_id()))
    await add(platform, 20, tenant=busy)
    assert len(await claim(platform, 16, per_lane=4)) == 4
    await add(platform, 1, tenant=quiet)
    assert {job.tenant_id for job in await claim(platform, 12, per_lane=4)} == {quiet}
    # Another worker has a share of its own.
    assert len(await claim(platform, 12, per_lane=4, worker="other")) == 4


async def test_the_platform_has_a_larger_share_than_a_tenant(platform: Database) -> None:
    await add(platform, 20)
    await add(platform, 20, tenant=new_id())
    claimed = await claim(platform, 16, per_lane=4) + await claim(platform, 16, per_lane=4)
    assert Counter(job.tenant_id is None for job in claimed) == {True: 8, False: 4}


async def test_a_claim_reads_neither_the_jobs_that_wait_nor_those_for_later(
    platform: Database, test_servers: TestServers
) -> None:
    await add_many(platform, lanes=1_000, jobs=20)
    async with platform.platform_transaction() as session:
        await session.execute(
            text(
                "insert into jobs (id, tenant_id, lane, kind, payload, state, run_at, is_due, created_at) "
                "select gen_random_uuid(), id, id, 'note', '{}', 'queued', now() + interval '1 hour', false, "
                "now() from (select gen_random_uuid() as id from generate_series(1, 5000)) lanes"
            )
        )
    async with connected(test_servers.database("jobs").owner) as owner:
        await owner.execute("analyze jobs")
    async with platform.platform_transaction() as session:
        given = {"worker": "w", "slots": 16, "per_lane": 4, "of_platform": 8, "after": uuid4()}
        given |= {"platform": PLATFORM_LANE, "lease": repository.LEASE}
        found = await scans_of(session, repository._CLAIM.text, "jobs", **given)
    assert not [scan for scan in found if scan.kind == "Seq Scan"], found
    # Sixteen jobs, each found by a hop and a look at its lane, then updated.
    assert sum(scan.rows for scan in found) <= 16 * 4, found
