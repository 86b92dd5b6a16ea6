"""What a restoration ends of work and of words to the world, and how services hear of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mis_cli.exits import REFUSED
from mis_tenancy.redis import Redis
from mis_tenancy.revocations import CHANNEL
from tests.database import Seeded
from tests.mis_cli.backups import Place, seed_under_way
from tests.servers import TestServers

UNDER_WAY = {
    "exports": "status in ('queued', 'running')",
    "imports": "status in ('receiving', 'queued', 'running')",
    "verifications": "status = 'pending'",
    "plan_migrations": "status = 'running'",
}
SPEAKING = {
    "webhooks": "status = 'active'",
    "webhook_deliveries": "status = 'pending'",
    "webhook_lanes": "due_at is not null",
}
QUEUED = {
    "outbox": "true",
    "jobs": "state in ('queued', 'running')",
    "tenants": "status in ('pending_deletion', 'maintenance')",
}
ALL = UNDER_WAY | SPEAKING | QUEUED


@pytest.fixture(scope="module")
def place(test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(test_servers, test_servers.database("muting"), tmp_path_factory.mktemp("muting"))


@pytest.fixture(scope="module")
async def seeded(place: Place) -> Seeded:
    """A tenant of which everything is under way."""
    seeded = await seed_under_way(place)
    async with place.hand() as hand:
        await hand.execute("update plan_migrations set status = 'running'")
        await hand.execute("update webhook_lanes set due_at = now()")
        closed = "update tenants set status = 'pending_deletion', purge_at = now() where id = $1"
        await hand.execute(closed, seeded.id)
    return seeded


async def left(place: Place) -> set[str]:
    """Return the tables of which something is under way or would speak."""
    async with place.hand() as hand:
        return {
            table
            for table, condition in ALL.items()
            if await hand.fetchval(f"select exists (select from {table} where {condition})")  # noqa: S608  # named above
        }


@asynccontextmanager
async def woken(servers: TestServers) -> AsyncIterator[None]:
    """Fail where what listens for news in the block is not woken."""
    redis, heard = Redis(servers.redis_url, 5.0), asyncio.Event()
    await redis.start()
    try:
        await redis.subscribe(CHANNEL, lambda _: heard.set())
        yield
        async with asyncio.timeout(30):
            await heard.wait()
    finally:
        await redis.stop()


async def test_work_without_its_job_has_ended_and_a_muted_tenant_speaks_to_nobody(
    place: Place, seeded: Seeded, tmp_path: Path
) -> None:
    """Catalogue 118."""
    assert await left(place) == set(ALL)
    words = ("restore", tmp_path / "one", "--tenant", seeded.id, "--replace")
    await place.mis.json("backup", tmp_path / "one", "--tenant", seeded.id)
    async with place.hand() as hand:
        hold = "update tenants set status = 'suspended' where id = $1"
        await hand.execute(hold, seeded.id)
        # Keys that were made up open nothing, which is told.
        async with woken(place.servers):
            await place.mis.json(*words, code=REFUSED)
        assert await left(place) == set(SPEAKING)
        why = await hand.fetchval("select error ->> 'code' from exports")
        assert why == "interrupted"
        await hand.execute(hold, seeded.id)
        await place.mis.json(*words, "--mute", code=REFUSED)
    assert await left(place) == set()


async def test_a_muted_deployment_speaks_to_nobody(place: Place, tmp_path: Path) -> None:
    seeded = await seed_under_way(place)
    async with place.hand() as hand:
        await hand.execute(
            "update tenants set status = 'maintenance', status_before = 'active' where id = $1", seeded.id
        )
        await hand.execute("update webhook_lanes set due_at = now()")
    before = await left(place)
    assert before == set(ALL) - {"plan_migrations"}
    await place.mis.json("backup", tmp_path / "whole")
    words = ("restore", tmp_path / "whole", "--replace")
    await place.mis.json(*words, code=REFUSED)
    assert await left(place) == before
    async with woken(place.servers):
        await place.mis.json(*words, "--mute", code=REFUSED)
    assert await left(place) == set()
