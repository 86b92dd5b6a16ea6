"""`mis restore` where Redis is a cluster: it forgets the counts of every node, or of one tenant alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mis_cli.exits import AWAY
from mis_tenancy.redis import tenant_key
from mis_tenancy.redis.slots import slot_of
from tests.answers import fine
from tests.integration.rig import flush
from tests.mis_cli.backups import Place
from tests.redis_cluster import RedisCluster, redis_cluster
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS

DAILY = 90


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    with redis_cluster() as cluster:
        yield cluster


@pytest.fixture
def place(test_servers: TestServers, cluster: RedisCluster, tmp_path: Path) -> Iterator[Place]:
    on_cluster = replace(test_servers, redis_url=cluster.url)
    yield Place(on_cluster, test_servers.database("restored_on_a_cluster"), tmp_path)
    test_servers.drop_database("restored_on_a_cluster")


async def one_on_each(suite: Suite, cluster: RedisCluster) -> list[TenantHandle]:
    """Return a tenant with a daily limit on each of the primaries."""
    found: dict[int, TenantHandle] = {}
    while len(found) < len(cluster.primaries):
        tenant = await suite.tenant("custom")
        found.setdefault(cluster.number_of(slot_of(tenant_key(tenant.id))), tenant)
    for tenant in found.values():
        limit = {"configKey": "api.rate_limit", "configValue": DAILY}
        fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=limit, headers=suite.operator))
    await suite.hear_of_it()
    return [found[number] for number in sorted(found)]


async def left(suite: Suite, tenant: TenantHandle) -> int:
    """Make one request as the owner and return how many the day has left; all processes decided together."""
    answer = await suite.client.get("/api/v1/users", headers=tenant.auth)
    assert answer.status_code == 200, answer.text
    assert "x-ratelimit-mode" not in answer.headers
    return int(answer.headers["x-ratelimit-remaining"])


def keys_of(cluster: RedisCluster, tenant: TenantHandle) -> list[bytes]:
    """Return the tenant's keys, at whichever node."""
    return [key for node in cluster.primaries for key in node.ask("KEYS", f"{tenant_key(tenant.id)}*")]


async def test_a_restoration_forgets_the_counts_of_every_node(
    place: Place, cluster: RedisCluster, tmp_path: Path
) -> None:
    """Catalogue 47, 106."""
    async with place.suite() as suite:
        tenants = await one_on_each(suite, cluster)
        for tenant in tenants:
            await left(suite, tenant)
        await flush(suite)
        await place.mis.json("backup", tmp_path / "whole")
        # Of these the restored ledger knows nothing, and they must not count.
        remaining = [await left(suite, tenant) for tenant in tenants for _ in range(5)][4::5]
    assert all(keys_of(cluster, tenant) for tenant in tenants)
    (told,) = await place.mis.json("restore", tmp_path / "whole", "--replace")
    assert (told["faults"], told["left"]) == ([], [])
    assert told["redis_keys_removed"] >= len(tenants)
    assert [node.ask("KEYS", "{*}:*") for node in cluster.primaries] == [[], [], []]
    async with place.suite() as suite:
        for tenant, before in zip(tenants, remaining, strict=True):
            owner = await suite.sign_in(tenant.slug, tenant.owner.email, tenant.owner.password)
            assert before < await left(suite, replace(tenant, owner=owner)) < DAILY


async def test_while_a_node_is_away_nothing_is_restored_and_it_is_named(
    place: Place, cluster: RedisCluster, tmp_path: Path
) -> None:
    """Catalogue 47, 106."""
    await place.mis.json("backup", tmp_path / "whole")
    before = await place.rows()
    cluster.primaries[1].kill()
    answer = await place.mis("restore", tmp_path / "whole", "--replace")
    assert answer.exit_code == AWAY
    assert f"127.0.0.1:{cluster.primaries[1].port}" in answer.stderr
    assert await place.rows() == before


async def test_one_tenants_restoration_forgets_its_counts_and_nobody_elses(
    place: Place, cluster: RedisCluster, tmp_path: Path
) -> None:
    """Catalogue 47, 108."""
    async with place.suite() as suite:
        stricken, *others = await one_on_each(suite, cluster)
        for tenant in (stricken, *others):
            await left(suite, tenant)
        await place.mis.json("backup", tmp_path / "one", "--tenant", stricken.slug)
        await place.mis.json("tenants", "suspend", stricken.slug, "--reason", "Being restored")
        await suite.hear_of_it()
        assert (await suite.client.get("/api/v1/users", headers=stricken.auth)).status_code != 200
        kept = [await left(suite, tenant) for tenant in others]
        await place.mis.json("restore", tmp_path / "one", "--tenant", stricken.slug, "--replace")
        assert keys_of(cluster, stricken) == []
        assert [await left(suite, tenant) for tenant in others] == [count - 1 for count in kept]
