"""What lies in Redis limits and wakes; it never says whose rows are shown, whoever wrote it there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mis_tenancy.redis import Redis, tenant_key
from tests.answers import fine
from tests.integration.rig import TENANTS, USERS
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle

Plant = Callable[[Redis, bytes, TenantHandle], Awaitable[None]]


async def nonsense(client: Redis, key: bytes, _: TenantHandle) -> None:
    await client.command("SET", key, b"\xff\x00{not: ours")


async def another_kind(client: Redis, key: bytes, _: TenantHandle) -> None:
    await client.command("DEL", key)
    await client.command("RPUSH", key, b"1", b"2")


async def the_others(client: Redis, key: bytes, other: TenantHandle) -> None:
    await client.command("DEL", key)
    named = str(other.id)
    await client.command("HSET", key, "tenant_id", named, "tenantId", named, "used", "0")


@pytest.fixture
async def client(test_servers: TestServers) -> AsyncIterator[Redis]:
    client = Redis(test_servers.redis_url, 5.0)
    await client.start()
    yield client
    await client.stop()


async def seen(suite: Suite, tenant: TenantHandle) -> tuple[Any, ...]:
    people, own, resolved = await asyncio.gather(
        *(
            suite.client.get(path, headers=tenant.auth)
            for path in (USERS, f"{TENANTS}/{tenant.id}", f"{TENANTS}/resolve")
        )
    )
    named = {source["tenantId"] for source in fine(resolved)["sources"]}
    return [person["email"] for person in fine(people)], fine(own)["id"], named


@pytest.mark.parametrize("plant", [nonsense, another_kind, the_others])
async def test_what_is_planted_under_a_tenants_keys_shows_no_other_tenant(
    suite: Suite, client: Redis, plant: Plant
) -> None:
    """Catalogue 109."""
    one, other = await asyncio.gather(suite.tenant("custom"), suite.tenant("custom"))
    before = await seen(suite, one)
    assert (before[1], before[2]) == (str(one.id), {str(one.id)})
    keys = [key async for some in client.scan(f"{tenant_key(one.id)}*") for key in some]
    assert keys
    for key in keys:
        await plant(client, key, other)
    for _ in range(3):
        assert await seen(suite, one) == before
    assert (await seen(suite, other))[1] == str(other.id)
