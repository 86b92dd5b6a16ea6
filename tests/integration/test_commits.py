"""An answer comes after the commit: what was not stored was not promised, and refusals leave a trace."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.answers import fine, refused
from tests.integration.rig import (
    AUTH,
    TENANTS,
    USERS,
    Behind,
    ForgetfulCable,
    behind,
    flush,
    suite_on_a_cable,
)
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, running_suite

# Each change carries the marker in a value, by which the cable knows its transaction.
STORED = {
    "user": "select count(*) from users where email like '%' || $1 || '%'",
    "profile": "select count(*) from users where name like '%' || $1 || '%'",
    "config": "select count(*) from tenant_configurations where config_key like '%' || $1 || '%'",
    "tenant": "select count(*) from tenants where slug like '%' || $1 || '%'",
    "suspension": "select count(*) from tenants where status_reason like '%' || $1 || '%'",
}


@dataclass
class Wired:
    suite: Suite
    cable: ForgetfulCable
    facts: Behind
    tenant: TenantHandle

    async def change(self, kind: str, marker: str, key: str | None = None) -> httpx.Response:
        """Ask for a change whose values hold the marker."""
        suite, tenant = self.suite, self.tenant
        own, operators = tenant.auth, suite.operator
        method, path, body, headers = {
            "user": ("POST", USERS, {"email": f"{marker}@x.example", "name": "Una"}, own),
            "profile": ("PATCH", f"{USERS}/me", {"name": f"Name {marker}"}, own),
            "config": ("POST", f"{TENANTS}/{tenant.id}/config", setting(marker), own),
            "tenant": ("POST", TENANTS, {"name": "New", "slug": f"s-{marker}"}, operators),
            "suspension": ("POST", f"{TENANTS}/{tenant.id}/suspend", {"reason": marker}, operators),
        }[kind]
        sent: dict[str, str] = headers if key is None else headers | {"Idempotency-Key": key}
        return await suite.client.request(method, path, json=body, headers=sent)

    async def stored(self, kind: str, marker: str) -> int:
        count: int = await self.facts.value(STORED[kind], marker)
        return count


def setting(marker: str) -> dict[str, Any]:
    return {"configKey": f"app.k-{marker}", "configValue": 1}


@pytest.fixture(scope="module")
async def house(
    test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Suite, ForgetfulCable, Behind]]:
    directory = tmp_path_factory.mktemp("commits")
    async with behind(test_servers) as facts, suite_on_a_cable(test_servers, directory) as (suite, cable):
        yield suite, cable, facts


@pytest.fixture
async def wired(house: tuple[Suite, ForgetfulCable, Behind]) -> Wired:
    suite, cable, facts = house
    return Wired(suite, cable, facts, await suite.tenant("custom"))


@pytest.mark.parametrize("kind", STORED)
async def test_a_commit_that_fails_is_a_failed_request_and_nothing_is_stored(wired: Wired, kind: str) -> None:
    marker = f"m{uuid4().hex[:12]}"
    before = await wired.facts.changes(wired.tenant.id)
    wired.cable.refuse_commit_of(marker)
    answer = await wired.change(kind, marker)
    assert wired.cable.refused == 1
    assert answer.status_code >= 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await wired.stored(kind, marker) == 0
    assert await wired.facts.changes(wired.tenant.id) == before
    seats = "select users from tenant_counters where tenant_id = $1"
    assert await wired.facts.value(seats, wired.tenant.id) == 1
    fine(await wired.change(kind, marker), 201 if kind in ("user", "tenant") else 200)
    assert await wired.stored(kind, marker) == 1


@pytest.mark.parametrize("kind", ["user", "tenant", "config"])
async def test_a_commit_whose_answer_was_lost_is_told_to_whoever_asks_again(wired: Wired, kind: str) -> None:
    """Catalogue 137, 138."""
    marker, key = f"m{uuid4().hex[:12]}", uuid4().hex
    wired.cable.lose_answer_of(marker)
    answer = await wired.change(kind, marker, key)
    assert answer.status_code >= 500, answer.text
    assert await wired.stored(kind, marker) == 1
    again = await wired.change(kind, marker, key)
    fine(again, 200 if kind == "config" else 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert await wired.stored(kind, marker) == 1


async def test_a_change_that_cannot_be_audited_is_not_made(test_servers: TestServers, tmp_path: Path) -> None:
    """Catalogue 128."""
    urls = test_servers.database("unaudited")
    roles = {"database_url": urls.app, "auth_database_url": urls.auth, "platform_database_url": urls.platform}
    async with (
        behind(test_servers, "unaudited") as facts,
        running_suite(test_servers, tmp_path, **roles) as suite,
    ):
        tenant = await suite.tenant("custom")
        wired = Wired(suite, ForgetfulCable(urls.app), facts, tenant)
        await flush(suite)
        for role in ("mis_app", "mis_auth", "mis_platform"):
            await facts.connection.execute(f"revoke insert on audit_logs from {role}")
        for kind in STORED:
            answer = await wired.change(kind, "unaudited")
            assert answer.status_code >= 500, (kind, answer.text)
            assert await wired.stored(kind, "unaudited") == 0
        for role in ("mis_app", "mis_auth", "mis_platform"):
            await facts.connection.execute(f"grant insert on audit_logs to {role}")
        for kind in STORED:
            assert (await wired.change(kind, "unaudited")).status_code < 300
        # What could not be moved meanwhile is there in the end.
        await flush(suite)
        refused = await facts.value(
            "select count(*) from audit_logs where kind = 'request' and status >= 500"
        )
        assert refused >= 3
    test_servers.drop_database("unaudited")


async def test_refusals_leave_their_trace(suite: Suite) -> None:
    """What was raised rolled back, and yet the tenant sees that somebody tried."""
    tenant = await suite.tenant("custom")
    wrong = {"email": tenant.owner_email, "password": "wrong", "tenantSlug": tenant.slug}
    refused(await suite.post_anonymously(f"{AUTH}/login", wrong), 401, "invalid_credentials")
    other = {"X-Tenant-ID": str(uuid4())}
    refused(await suite.client.get(USERS, headers=tenant.auth | other), 403, "tenant_mismatch")
    used = tenant.owner.refresh_token
    fresh = fine(await suite.post_anonymously(f"{AUTH}/refresh", {"refreshToken": used}))["refreshToken"]
    fine(await suite.post_anonymously(f"{AUTH}/refresh", {"refreshToken": fresh}))
    refused(await suite.post_anonymously(f"{AUTH}/refresh", {"refreshToken": used}), 401, "token_revoked")
    await flush(suite)
    listed = await suite.client.get(
        f"{TENANTS}/{tenant.id}/audit-logs", params={"kind": "security"}, headers=suite.operator
    )
    actions = {row["action"] for row in fine(listed)}
    assert {"tenant_mismatch", "login.failed"} <= actions
    assert any("reuse" in action for action in actions), actions
