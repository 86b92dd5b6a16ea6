"""A commit that brings work wakes the workers at once; nothing else does, and a lost wake-up costs a poll."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from mis_jobs import runner
from mis_jobs.jobs import CHANNEL, Job, enqueue
from mis_jobs.outbox import CHANNEL as OUTBOX
from mis_jobs.outbox import EventType, publish
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.redis import Redis
from tests.mis_jobs.job_queue import PATIENCE, add, working
from tests.servers import TestServers
from tests.suite import Suite


@pytest.fixture
async def redis(test_servers: TestServers) -> AsyncIterator[Redis]:
    redis = Redis(test_servers.redis_url, 1.0)
    await redis.start()
    yield redis
    await redis.stop()


@pytest.fixture
def woken(platform: Database) -> list[str]:
    """The channels that commits have woken."""
    channels: list[str] = []
    platform.on_wake = channels.append
    return channels


async def test_a_commit_wakes_the_workers_once_however_many_jobs_it_brings(
    platform: Database, woken: list[str]
) -> None:
    await add(platform, 3)
    assert woken == [CHANNEL]


async def test_what_was_rolled_back_wakes_nobody(platform: Database, woken: list[str]) -> None:
    async with platform.platform_session() as session:
        await enqueue(session, "note", {}, tenant_id=None)
        await session.rollback()
        await enqueue(session, "note", {}, tenant_id=None, run_at=datetime.now(UTC) + timedelta(hours=1))
        await session.commit()
    assert woken == []


async def test_the_release_of_a_savepoint_wakes_nobody_before_the_commit(
    platform: Database, woken: list[str]
) -> None:
    async with platform.platform_transaction() as session:
        async with session.begin_nested():
            await enqueue(session, "note", {}, tenant_id=None)
        assert woken == []
    assert woken == [CHANNEL]


async def test_a_job_that_stands_already_wakes_nobody(platform: Database, woken: list[str]) -> None:
    for _ in range(2):
        async with platform.platform_transaction() as session:
            await enqueue(session, "note", {}, tenant_id=None, dedupe_key="one")
    assert woken == [CHANNEL]


async def test_an_event_in_the_outbox_wakes_who_passes_events_on(
    platform: Database, woken: list[str]
) -> None:
    async with platform.transaction(new_id()) as session:
        publish(session, EventType.USER_CREATED, {"id": "1"})
    assert woken == [OUTBOX]


async def test_a_woken_worker_does_not_wait_for_its_poll(
    platform: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_POLL_SECONDS", 3_600)
    platform.on_wake = redis.wake
    done = asyncio.Event()

    async def note(job: Job) -> None:
        done.set()

    async with working(platform, {"note": note}, redis=redis), asyncio.timeout(PATIENCE):
        # The first claim has found nothing once this one job is done, and from then on only a wake-up helps.
        for _ in range(2):
            await add(platform, 1)
            await done.wait()
            done.clear()


async def test_without_redis_a_commit_still_succeeds(platform: Database, test_servers: TestServers) -> None:
    away = Redis("redis://127.0.0.1:1/0", 0.1)
    platform.on_wake = away.wake
    assert len(await add(platform, 1)) == 1


async def test_the_services_wake_the_workers(suite: Suite, redis: Redis) -> None:
    woken = asyncio.Event()
    await redis.subscribe(CHANNEL, lambda _: woken.set())
    await redis.command("PING")
    tenant = await suite.tenant()
    answer = await suite.client.post(
        f"/api/v1/tenants/{tenant.id}/encryption-keys/rotate", headers=tenant.auth
    )
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(PATIENCE):
        await woken.wait()
