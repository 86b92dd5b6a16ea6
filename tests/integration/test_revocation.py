"""What is withdrawn is withdrawn in every service within a second, with Redis and without it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, UserHandle, running_suite

PROMISE = 1.0
# Reading the answers takes time too; the promise is about when they turn.
SLACK = 1.0


@pytest.fixture(scope="module", params=["with Redis", "without Redis"])
async def any_suite(
    request: pytest.FixtureRequest, test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    redis = test_servers.redis_url if request.param == "with Redis" else None
    async with running_suite(test_servers, tmp_path_factory.mktemp("revocation"), redis_url=redis) as suite:
        yield suite


async def answers(suite: Suite, user: UserHandle, tenant: TenantHandle) -> list[httpx.Response]:
    """Return what each of the three services says to the user."""
    paths = ("/api/v1/users?limit=1", "/api/v1/auth/me", f"/api/v1/tenants/{tenant.id}")
    return [await suite.client.get(path, headers=user.auth) for path in paths]


async def turns(ask: Callable[[], Awaitable[bool]]) -> float:
    """Return how many seconds it takes until `ask` says yes; give up after the promise and its slack."""
    start = time.monotonic()
    while not await ask():
        if time.monotonic() - start > PROMISE + SLACK:
            pytest.fail("It did not turn in time.")
        await asyncio.sleep(0.02)
    return time.monotonic() - start


def all_are(
    status: int, code: str, suite: Suite, user: UserHandle, tenant: TenantHandle
) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        said = await answers(suite, user, tenant)
        return all(each.status_code == status and each.json()["code"] == code for each in said)

    return ask


@asynccontextmanager
async def warm(suite: Suite) -> AsyncIterator[tuple[TenantHandle, UserHandle]]:
    """Yield a tenant and an admin of it whose token every service has verified and remembers."""
    tenant = await suite.tenant("premium")
    user = await suite.user(tenant, "admin")
    assert [each.status_code for each in await answers(suite, user, tenant)] == [200, 200, 200]
    yield tenant, user


async def test_a_suspension_is_in_force_everywhere(any_suite: Suite) -> None:
    """Catalogue 4, 67."""
    async with warm(any_suite) as (tenant, user):
        path = f"/api/v1/tenants/{tenant.id}/suspend"
        await any_suite.client.post(path, json={"reason": "fraud"}, headers=any_suite.operator)
        await turns(all_are(403, "tenant_suspended", any_suite, user, tenant))


async def test_a_disabled_users_token_is_revoked_everywhere(any_suite: Suite) -> None:
    """Catalogue 67."""
    async with warm(any_suite) as (tenant, user):
        path = f"/api/v1/users/{user.id}"
        answer = await any_suite.client.patch(path, json={"status": "disabled"}, headers=tenant.auth)
        assert answer.status_code == 200, answer.text
        await turns(all_are(401, "token_revoked", any_suite, user, tenant))


async def test_a_changed_role_ends_the_tokens_of_the_old_one_everywhere(any_suite: Suite) -> None:
    """Catalogue 67."""
    async with warm(any_suite) as (tenant, user):
        await any_suite.client.patch(f"/api/v1/users/{user.id}", json={"role": "viewer"}, headers=tenant.auth)
        await turns(all_are(401, "token_revoked", any_suite, user, tenant))


async def test_a_session_signed_out_is_over_everywhere(any_suite: Suite) -> None:
    """Catalogue 77."""
    async with warm(any_suite) as (tenant, user):
        answer = await any_suite.client.post("/api/v1/auth/logout", json={}, headers=user.auth)
        assert answer.status_code == 204, answer.text
        await turns(all_are(401, "token_revoked", any_suite, user, tenant))


async def test_a_changed_limit_is_in_force_in_another_service(any_suite: Suite) -> None:
    async with warm(any_suite) as (tenant, user):
        body = {"configKey": "api.burst_limit", "configValue": 7, "isEncrypted": False}
        path = f"/api/v1/tenants/{tenant.id}/config"
        answer = await any_suite.client.post(path, json=body, headers=tenant.auth)
        assert answer.status_code in (200, 201), answer.text

        async def is_limited() -> bool:
            said = await any_suite.client.get("/api/v1/users?limit=1", headers=user.auth)
            return '"burst";q=7;w=1' in said.headers["ratelimit-policy"]

        await turns(is_limited)


async def test_a_reactivated_tenant_is_served_again_everywhere(any_suite: Suite) -> None:
    async with warm(any_suite) as (tenant, user):
        for step, body in (("suspend", {"reason": "fraud"}), ("reactivate", None)):
            path = f"/api/v1/tenants/{tenant.id}/{step}"
            answer = await any_suite.client.post(path, json=body, headers=any_suite.operator)
            assert answer.status_code == 200, answer.text

        async def is_served() -> bool:
            return [each.status_code for each in await answers(any_suite, user, tenant)] == [200] * 3

        await turns(is_served)


async def test_a_renamed_tenant_is_not_found_by_its_old_name(any_suite: Suite, tmp_path: Path) -> None:
    """Catalogue 23."""
    async with warm(any_suite) as (tenant, _):
        policy = "/api/v1/auth/password-policy"
        assert (await any_suite.client.get(policy, headers={"X-Tenant-Slug": tenant.slug})).status_code == 200
        new = f"{tenant.slug}-renamed"
        path = f"/api/v1/tenants/{tenant.id}"
        answer = await any_suite.client.patch(path, json={"slug": new}, headers=any_suite.operator)
        assert answer.status_code == 200, answer.text

        async def is_renamed() -> bool:
            old = await any_suite.client.get(policy, headers={"X-Tenant-Slug": tenant.slug})
            now = await any_suite.client.get(policy, headers={"X-Tenant-Slug": new})
            return (old.status_code, now.status_code) == (404, 200)

        await turns(is_renamed)
