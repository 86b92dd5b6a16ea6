"""The limits over three services that share one counter: exact, told in headers, and fair to the owner."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.answers import fine, refused
from tests.integration.rig import AUTH, SERVICES, TENANTS, USERS, flush, route_of
from tests.mis_tenancy.redis_fixtures import RedisServer, redis_server
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, fresh_address, running_suite

# RFC 9651: a list of strings with parameters that are integers.
ITEM = r'"[a-z]+"(?:;[a-z]+=\d+)+'
LIST = re.compile(rf"{ITEM}(?:, {ITEM})*")


@pytest.fixture(scope="module")
def redis() -> Any:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
async def house(
    redis: RedisServer, test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    async with running_suite(test_servers, tmp_path_factory.mktemp("limits"), redis_url=redis.url) as suite:
        yield suite


async def limited(suite: Suite, **limits: int) -> TenantHandle:
    """Return a tenant whose `api.*` limits the operator has set."""
    tenant = await suite.tenant("custom")
    for name, value in limits.items():
        body = {"configKey": f"api.{name}", "configValue": value}
        fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=suite.operator))
    for service in SERVICES:
        await suite.tenancy(service).feed.poll()
    return tenant


async def ask(suite: Suite, tenant: TenantHandle, service: str) -> httpx.Response:
    return await suite.client.get(route_of(service, tenant), headers=tenant.auth)


def seconds_to_midnight() -> float:
    now = datetime.now(UTC)
    tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (tomorrow - now).total_seconds()


async def test_with_n_left_n_parallel_requests_over_all_services_pass(house: Suite) -> None:
    """Catalogue 101."""
    tenant = await limited(house, rate_limit=40)
    asked = [ask(house, tenant, service) for service in ("tenant", "user") for _ in range(60)]
    answers = await asyncio.gather(*asked)
    assert Counter(answer.status_code for answer in answers) == {200: 40, 429: 80}
    left = sorted(int(one.headers["x-ratelimit-remaining"]) for one in answers if one.status_code == 200)
    assert left == list(range(40))


async def test_what_is_refused_uses_up_nothing_and_tells_when_to_come_back(house: Suite) -> None:
    """Catalogue 104."""
    tenant = await limited(house, rate_limit=2)
    for _ in range(2):
        fine(await ask(house, tenant, "user"))
    for _ in range(3):
        denied = await ask(house, tenant, "tenant")
        assert refused(denied, 429, "quota_exceeded")["policy"] == "daily"
        assert abs(int(denied.headers["retry-after"]) - seconds_to_midnight()) < 30
    body = {"configKey": "api.rate_limit", "configValue": 3}
    fine(await house.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=house.operator))
    await house.tenancy("user").feed.poll()
    assert [(await ask(house, tenant, "user")).status_code for _ in range(2)] == [200, 429]


async def test_headers_are_structured_fields_and_agree_with_one_another(house: Suite) -> None:
    """Catalogue 104."""
    tenant = await limited(house, rate_limit=50, burst_limit=1_000)
    answer = await ask(house, tenant, "user")
    assert answer.headers["ratelimit-policy"] == '"burst";q=1000;w=1, "daily";q=50;w=86400'
    assert LIST.fullmatch(answer.headers["ratelimit-policy"])
    assert LIST.fullmatch(answer.headers["ratelimit"])
    assert answer.headers["ratelimit"].startswith('"daily";r=49;t=')
    assert (answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"]) == ("50", "49")
    assert abs(int(answer.headers["x-ratelimit-reset"]) - seconds_to_midnight()) < 30
    assert "x-ratelimit-mode" not in answer.headers


async def test_a_spent_day_leaves_the_owner_a_way_to_sign_in_and_see(house: Suite) -> None:
    tenant = await limited(house, rate_limit=1)
    fine(await ask(house, tenant, "user"))
    refused(await ask(house, tenant, "user"), 429, "quota_exceeded")
    exempt = (f"{AUTH}/me", f"{AUTH}/sessions", f"{TENANTS}/{tenant.id}/usage")
    for path in exempt:
        answer = await house.client.get(path, headers=tenant.auth)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ratelimit-remaining"] == "0"
    again = await house.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    fine(await house.client.get(f"{AUTH}/me", headers=again.auth))
    refused(await house.client.get(f"{TENANTS}/{tenant.id}", headers=tenant.auth), 429, "quota_exceeded")


async def test_the_burst_holds_exempt_routes_too(house: Suite) -> None:
    tenant = await limited(house, burst_limit=3)
    answers = await asyncio.gather(*(ask(house, tenant, "auth") for _ in range(40)))
    counted = Counter(answer.status_code for answer in answers)
    assert counted[429] >= 30
    denied = next(answer for answer in answers if answer.status_code == 429)
    assert refused(denied, 429, "rate_limited")["policy"] == "burst"
    assert int(denied.headers["retry-after"]) >= 1


async def test_operators_and_strangers_use_up_nothing_of_the_tenants(house: Suite) -> None:
    tenant = await limited(house, rate_limit=10)
    visit = {"tenantId": str(tenant.id), "reason": "Counting."}
    visitor = fine(await house.client.post(f"{AUTH}/act-as", json=visit, headers=house.operator))["token"]
    named = {"X-Tenant-ID": str(tenant.id)}
    for _ in range(6):
        fine(await house.client.get(f"{TENANTS}/{tenant.id}", headers=house.operator))
        fine(await house.client.get(USERS, headers={"Authorization": f"Bearer {visitor}"}))
        async with house.client_at(fresh_address()) as stranger:
            fine(await stranger.get(f"{AUTH}/password-policy", headers=named))
            refused(await stranger.get(USERS, headers=named), 401, "authentication_required")
            forged = named | {"Authorization": f"Bearer {tenant.owner_token[:-6]}AAAAAA"}
            refused(await stranger.get(USERS, headers=forged), 401, "token_invalid")
    assert (await ask(house, tenant, "user")).headers["x-ratelimit-remaining"] == "9"


async def test_strangers_are_limited_by_address_over_all_services(house: Suite) -> None:
    paths = ("/api/v1/plans", "/.well-known/jwks.json", USERS)
    async with house.client_at(fresh_address()) as flooder:
        answers = await asyncio.gather(*(flooder.get(paths[number % 3]) for number in range(200)))
    denied = [answer for answer in answers if answer.status_code == 429]
    assert len(denied) >= 40
    refused(denied[0], 429, "rate_limited")
    async with house.client_at(fresh_address()) as neighbour:
        fine(await neighbour.get("/api/v1/plans"))


async def test_a_counter_that_redis_has_lost_is_seeded_from_the_ledger(
    house: Suite, redis: RedisServer
) -> None:
    """Catalogue 106."""
    tenant = await limited(house, rate_limit=30)
    for number in range(20):
        fine(await ask(house, tenant, ("user", "tenant")[number % 2]))
    await flush(house)
    redis.ask("FLUSHALL")
    answers = await asyncio.gather(*(ask(house, tenant, ("user", "tenant")[n % 2]) for n in range(40)))
    assert Counter(answer.status_code for answer in answers) == {200: 10, 429: 30}


async def test_without_redis_each_process_decides_for_itself_and_says_so(
    test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Catalogue 106."""
    directory = tmp_path_factory.mktemp("local")
    with redis_server() as server:
        overrides = {"redis_url": server.url, "expected_processes": 3}
        async with running_suite(test_servers, directory, **overrides) as suite:
            tenant = await limited(suite, rate_limit=30)
            fine(await ask(suite, tenant, "user"))
            server.kill()
            answers = [await ask(suite, tenant, "tenant") for _ in range(14)]
            assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 4
            assert {answer.headers["x-ratelimit-mode"] for answer in answers} == {"local"}
            assert suite.tenancy("tenant").limiter.local_decisions >= 14
            server.start()
            async with asyncio.timeout(20):
                while "x-ratelimit-mode" in (await ask(suite, tenant, "auth")).headers:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)


async def test_a_redis_that_kept_its_count_is_told_what_was_admitted_without_it(
    test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Catalogue 106."""
    directory = tmp_path_factory.mktemp("settled")
    with redis_server() as server:
        async with running_suite(test_servers, directory, redis_url=server.url) as suite:
            tenant = await limited(suite, rate_limit=50)
            for service in ("user", "tenant"):
                fine(await ask(suite, tenant, service))
            server.ask("CONFIG", "SET", "maxmemory", "1")
            alone = [await ask(suite, tenant, ("user", "tenant")[number % 2]) for number in range(20)]
            assert {answer.headers.get("x-ratelimit-mode") for answer in alone} == {"local"}
            server.ask("CONFIG", "SET", "maxmemory", "0")
            async with asyncio.timeout(20):
                while "x-ratelimit-mode" in (last := await ask(suite, tenant, "user")).headers:
                    alone.append(last)
                    await asyncio.sleep(0.1)
            await flush(suite)
            last = await ask(suite, tenant, "tenant")
            used = 2 + sum(answer.status_code == 200 for answer in alone) + 2
            assert int(last.headers["x-ratelimit-remaining"]) == 50 - used
