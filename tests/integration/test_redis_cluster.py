"""The suite on a Redis Cluster of three: what one node's death does to its tenants, and to nobody else."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from mis_tenancy.redis import tenant_key
from mis_tenancy.redis.slots import slot_of
from tests.answers import fine, refused
from tests.integration.rig import TENANTS, USERS, each_service, flush, route_of
from tests.redis_cluster import RedisCluster, redis_cluster
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, running_suite

PROMISED = 1.0
LOCAL = "x-ratelimit-mode"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with redis_cluster(replicas=1, timeout_ms=1_000) as cluster:
        yield cluster


@pytest.fixture(scope="module")
async def house(
    cluster: RedisCluster, test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    directory, overrides = tmp_path_factory.mktemp("cluster"), {"expected_processes": 3}
    async with running_suite(test_servers, directory, redis_url=cluster.url, **overrides) as suite:
        yield suite


async def limited_on(suite: Suite, cluster: RedisCluster, number: int, daily: int) -> TenantHandle:
    """Return a tenant whose keys are on the numbered primary, with a daily limit."""
    while True:
        tenant = await suite.tenant("custom")
        if cluster.number_of(slot_of(tenant_key(tenant.id))) == number:
            break
    body = {"configKey": "api.rate_limit", "configValue": daily}
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=suite.operator))
    await suite.hear_of_it()
    return tenant


async def ask(suite: Suite, tenant: TenantHandle, number: int) -> httpx.Response:
    return await suite.client.get(route_of(("tenant", "user")[number % 2], tenant), headers=tenant.auth)


async def readiness(suite: Suite) -> dict[str, object]:
    answers = fine(await suite.client.get("/readyz"))
    assert answers["status"] in ("ready", "degraded")
    document: dict[str, object] = answers["services"]["user"]
    return document


async def test_with_n_left_n_parallel_requests_over_all_services_pass_on_each_node(
    house: Suite, cluster: RedisCluster
) -> None:
    """Catalogue 101."""
    tenants = await asyncio.gather(*(limited_on(house, cluster, number, 20) for number in range(3)))
    for tenant in tenants:
        answers = await asyncio.gather(*(ask(house, tenant, number) for number in range(35)))
        assert not any(LOCAL in answer.headers for answer in answers)
        assert Counter(answer.status_code for answer in answers) == {200: 20, 429: 15}
    assert await readiness(house) == {
        "status": "ready",
        "parts": {"postgres": "ok", "revocations": "ok", "storage": "ok", "redis": "ok"},
        "redisNodes": {"answering": 3, "away": 0},
    }


async def test_a_nodes_death_is_its_tenants_business_and_nothing_is_lost(
    house: Suite, cluster: RedisCluster
) -> None:
    """Catalogue 67, 106."""
    stricken, other = await asyncio.gather(
        limited_on(house, cluster, 0, 90), limited_on(house, cluster, 1, 90)
    )
    leaver = await house.user(stricken)
    for tenant in (stricken, other):
        for number in range(6):
            fine(await ask(house, tenant, number))
    await flush(house)

    cluster.primaries[0].kill()
    alone = [await ask(house, stricken, number) for number in range(8)]
    assert [(answer.status_code, answer.headers.get(LOCAL)) for answer in alone] == [(200, "local")] * 8
    beside = [await ask(house, other, number) for number in range(8)]
    assert [(answer.status_code, answer.headers.get(LOCAL)) for answer in beside] == [(200, None)] * 8
    told = await readiness(house)
    if told["status"] == "degraded":
        assert told["redisNodes"] == {"answering": 2, "away": 1}

    # What is revoked and what is changed is in force in time, whichever node brought the news.
    gone = await house.client.delete(f"{USERS}/{leaver.id}", headers=stricken.auth)
    assert gone.status_code in (200, 204), gone.text
    body = {"configKey": "api.rate_limit", "configValue": 91}
    path = f"{TENANTS}/{other.id}/config"
    fine(await house.client.post(path, json=body, headers=house.operator))
    await asyncio.sleep(PROMISED)
    for answer in await each_service(house, stricken, leaver.auth):
        refused(answer, 401, "token_revoked")
    for answer in await each_service(house, other, other.auth):
        assert answer.headers["x-ratelimit-limit"] == "91"

    await asyncio.to_thread(cluster.until_taken_over, 0)
    async with asyncio.timeout(60):
        while LOCAL in (last := await ask(house, stricken, 1)).headers:  # noqa: ASYNC110  # the servers' business
            await asyncio.sleep(0.05)
        while (await readiness(house))["status"] != "ready":  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.05)
    # The new primary's count comes from the ledger, which knows what was decided without it.
    assert int(last.headers["x-ratelimit-remaining"]) <= 90 - 6 - 8 - 2
