"""Operators see the worker's jobs, without what they carry, and have dead ones tried again."""

import asyncio
from typing import Any
from uuid import UUID

from sqlalchemy import text

from mis_http.pages import Page
from mis_jobs.jobs import CHANNEL
from mis_tenancy.identifiers import new_id
from mis_tenancy.redis import Redis
from mis_tenancy.slugs import is_reserved
from tenant_service.job_queue.filters import JobFilter, JobState
from tenant_service.job_queue.repository import listing
from tests.answers import fine, refused
from tests.plans import scans_of
from tests.servers import TestServers
from tests.suite import Suite
from tests.tenant_service.job_queue import add_dead_job, add_job, platform_of
from tests.tenant_service.requests import TENANTS

JOBS = f"{TENANTS}/jobs"


async def listed(suite: Suite, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fine(await suite.client.get(JOBS, params=query, headers=suite.operator))
    return found


async def retry(suite: Suite, job: UUID) -> Any:
    return await suite.client.post(f"{JOBS}/{job}/retry", headers=suite.operator)


async def test_jobs_are_listed_by_state_tenant_and_kind_and_never_with_what_they_carry(suite: Suite) -> None:
    tenant, other = await suite.tenant(), await suite.tenant()
    dead, waiting = await add_dead_job(suite, tenant), await add_job(suite, tenant)
    await add_dead_job(suite, other)
    own = str(tenant.id)
    assert [job["id"] for job in await listed(suite, tenantId=own)] == [str(waiting), str(dead)]
    assert await listed(suite, tenantId=own, kind="no such kind") == []
    (shown,) = await listed(suite, tenantId=own, state="dead", kind="test")
    assert shown.pop("runAt").endswith("Z")
    assert shown.pop("createdAt").endswith("Z")
    assert shown == {
        "id": str(dead),
        "tenantId": own,
        "kind": "test",
        "state": "dead",
        "attempts": 8,
        "error": "ValueError",
        "finishedAt": None,
    }
    answer = await suite.client.get(JOBS, headers=suite.operator)
    assert "canary" not in answer.text


async def test_the_list_has_pages(suite: Suite) -> None:
    tenant = await suite.tenant()
    jobs = [str(await add_job(suite, tenant)) for _ in range(3)]
    query: dict[str, Any] = {"tenantId": str(tenant.id), "limit": 2}
    first = await suite.client.get(JOBS, params=query, headers=suite.operator)
    rest = fine(await suite.client.get(first.links["next"]["url"], headers=suite.operator))
    assert [job["id"] for job in [*fine(first), *rest]] == jobs[::-1]


async def test_a_dead_job_is_queued_as_if_new_wakes_the_workers_and_leaves_a_trail(
    suite: Suite, test_servers: TestServers
) -> None:
    """Catalogue 128."""
    job = await add_dead_job(suite, await suite.tenant())
    redis, woken = Redis(test_servers.redis_url, 1.0), asyncio.Event()
    await redis.start()
    await redis.subscribe(CHANNEL, lambda _: woken.set())
    shown = fine(await retry(suite, job))
    assert (shown["id"], shown["state"], shown["attempts"]) == (str(job), "queued", 0)
    async with asyncio.timeout(30):
        await woken.wait()
    await redis.stop()
    async with platform_of(suite).platform_transaction() as session:
        trail = "select count(*) from platform_audit_logs where action = 'job.retried' and resource = :job"
        assert await session.scalar(text(trail), {"job": f"jobs/{job}"}) == 1
        due = await session.scalar(text("select is_due from jobs where id = :job"), {"job": job})
    assert due is True


async def test_only_dead_jobs_that_exist_are_tried_again(suite: Suite) -> None:
    refused(await retry(suite, new_id()), 404, "job_not_found")
    document = refused(await retry(suite, await add_job(suite, None)), 409, "job_not_dead")
    assert document["state"] == "queued"


async def test_two_retries_at_once_are_one(suite: Suite) -> None:
    job = await add_dead_job(suite, None)
    answers = await asyncio.gather(*(retry(suite, job) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]


async def test_a_job_that_a_newer_one_stands_in_for_is_not_tried_again(suite: Suite) -> None:
    tenant = await suite.tenant()
    job = await add_dead_job(suite, tenant, dedupe_key="one")
    await add_job(suite, tenant, dedupe_key="one")
    refused(await retry(suite, job), 409, "job_superseded")
    assert [one["state"] for one in await listed(suite, tenantId=str(tenant.id))] == ["queued", "dead"]


def test_no_tenant_can_be_called_like_the_route() -> None:
    assert is_reserved("jobs")


async def test_dead_jobs_are_found_without_reading_the_others(suite: Suite) -> None:
    for asked in (
        JobFilter(JobState.DEAD),
        JobFilter(JobState.DEAD, new_id()),
        JobFilter(tenant_id=new_id()),
    ):
        async with platform_of(suite).platform_transaction() as session:
            await session.execute(text("set local enable_seqscan = off"))
            scans = await scans_of(session, listing(asked, Page(50)), "jobs")
        assert [scan.index for scan in scans] != ["pk_jobs"], (asked, scans)
        assert all(scan.kind != "Seq Scan" for scan in scans), scans
