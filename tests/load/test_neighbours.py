"""A tenant far above its limit, and a neighbour who asks now and then."""

import asyncio
from collections import Counter

import pytest

from tests.answers import fine
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS

SECONDS = 60
LIMIT = 2
TIMES = 50
IN_FLIGHT = 64


async def ask(suite: Suite, tenant: TenantHandle) -> int:
    return (await suite.client.get("/api/v1/users/me", headers=tenant.auth)).status_code


async def flood(suite: Suite, tenant: TenantHandle, until: float) -> Counter[int]:
    """Send fifty times what the tenant may, however slowly that is answered; return how it was answered."""
    loop, turns, found = asyncio.get_running_loop(), asyncio.Semaphore(IN_FLIGHT), Counter[int]()

    async def one() -> None:
        async with turns:
            found[await ask(suite, tenant)] += 1

    async with asyncio.TaskGroup() as group:
        while loop.time() < until:
            group.create_task(one())
            await asyncio.sleep(1 / (LIMIT * TIMES))
    return found


@pytest.mark.deep
async def test_a_tenant_at_fifty_times_its_limit_costs_its_neighbour_no_request(suite: Suite) -> None:
    """Catalogue 105: what the neighbour waits is measured by `make bench ARGS=neighbours`."""
    noisy, quiet = await suite.tenant("custom"), await suite.tenant("custom")
    body = {"configKey": "api.burst_limit", "configValue": LIMIT}
    fine(await suite.client.post(f"{TENANTS}/{noisy.id}/config", json=body, headers=suite.operator))
    await suite.tenancy("user").feed.poll()
    loop = asyncio.get_running_loop()
    started = loop.time()
    noise = asyncio.create_task(flood(suite, noisy, started + SECONDS))
    answers = Counter[int]()
    while not noise.done():
        answers[await ask(suite, quiet)] += 1
        await asyncio.sleep(0.1)
    refused, took = await noise, loop.time() - started
    assert set(answers) == {200}
    assert set(refused) == {200, 429}
    # A second's burst comes on top of what the limit lets through in the time.
    assert refused[200] <= LIMIT * (took + 2)
