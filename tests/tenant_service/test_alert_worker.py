"""Alerts by themselves: workers run beside the suite, and what happens is told within the promised time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mis_cli.embedded import DatabaseUrls
from mis_worker.app import working
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, running_suite
from tests.tenant_service.requests import TENANTS, fine, refused
from tests.tenant_service.test_alert_book import alerts

PROMISED_SECONDS = 10


class OwnDatabase(TestServers):
    """The run's servers, with a further database, because a worker works on all of it."""

    def database(self, name: str | None = None) -> DatabaseUrls:
        return super().database(name or "alert_worker")


@pytest.fixture(scope="module")
async def watched(
    test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    """A suite with two workers beside it."""
    servers = OwnDatabase(test_servers.postgres, test_servers.redis_url, test_servers.worker)
    async with (
        running_suite(servers, tmp_path_factory.mktemp("watched")) as suite,
        working(suite.settings),
        working(suite.settings),
    ):
        yield suite


async def within_the_promise(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PROMISED_SECONDS):
        while True:
            if await is_so():
                return
            await asyncio.sleep(0.1)


async def told(suite: Suite, tenant: TenantHandle) -> set[tuple[Any, ...]]:
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/alerts", headers=suite.operator)
    return {(row["kind"], row["subject"], row["threshold"], row["status"]) for row in fine(answer)}


async def test_what_happens_is_told_within_ten_seconds_and_once(watched: Suite) -> None:
    full, busy, attacked = [await watched.tenant(maxUsers=1) for _ in range(3)]
    body = {"configKey": "api.rate_limit", "configValue": 5}
    fine(await watched.client.post(f"{TENANTS}/{busy.id}/config", json=body, headers=watched.operator))
    for _ in range(5):
        fine(await watched.client.get("/api/v1/users/me", headers=busy.auth))
    headers = attacked.auth | {"X-Tenant-ID": str(full.id)}
    refused(await watched.client.get("/api/v1/users", headers=headers), 403, "tenant_mismatch")
    users = {("limit", "users", threshold, "open") for threshold in (80, 90, 100)}
    requests = {("limit", "api_requests", threshold, "open") for threshold in (80, 90, 100)}
    incident = {("security", "tenant_mismatch", None, "open")}

    async def all_is_told() -> bool:
        return (
            await told(watched, full) == users
            and await told(watched, busy) == users | requests
            and await told(watched, attacked) == users | incident
        )

    await within_the_promise(all_is_told)
    patched = {"maxUsers": 100}
    fine(await watched.client.patch(f"{TENANTS}/{full.id}", json=patched, headers=watched.operator))

    async def the_end_is_told() -> bool:
        return await told(watched, full) == {(*what[:3], "resolved") for what in users}

    await within_the_promise(the_end_is_told)
    for tenant, number in ((full, 3), (busy, 6), (attacked, 4)):
        assert len(await alerts(watched, tenant.id)) == number
