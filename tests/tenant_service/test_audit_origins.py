"""Where requests came from, over the whole suite: clear nowhere, shown to readers, erased for good."""

import secrets
from pathlib import Path

from mis_tenancy.origins.rows import erase_actor
from tests.answers import fine, refused
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, fresh_address, running_suite
from tests.tenant_service.requests import TENANTS, patch
from tests.tenant_service.seals import Log


async def rows_of(suite: Suite, tenant: TenantHandle, **query: str) -> list[dict[str, str]]:
    path = f"{TENANTS}/{tenant.id}/audit-logs"
    rows: list[dict[str, str]] = fine(
        await suite.client.get(path, params={"limit": "200"} | query, headers=tenant.auth)
    )
    return rows


async def drained(suite: Suite) -> None:
    for service in suite.apps:
        await suite.tenancy(service).recorder.flush()


async def test_no_service_leaves_an_address_in_clear(test_servers: TestServers, tmp_path: Path) -> None:
    """Catalogue 134, for what the audit log is told."""
    agent = f"Canary/{secrets.token_hex(8)}"
    async with running_suite(test_servers, tmp_path) as suite:
        tenant = await suite.tenant("custom")
        address = fresh_address()
        async with suite.client_at(address) as client:
            client.headers["User-Agent"] = agent
            who = {"tenantSlug": tenant.slug, "email": tenant.owner_email}
            for password, status in ((tenant.owner_password, 200), ("wrong", 401)):
                fine(await client.post("/api/v1/auth/login", json=who | {"password": password}), status)
            fine(await client.get("/api/v1/users", headers=tenant.auth))
            fine(await client.patch(f"{TENANTS}/{tenant.id}", json={"maxUsers": 3}, headers=tenant.auth))
            note = {"name": "New", "email": f"new@{tenant.slug}.example"}
            fine(await client.post("/api/v1/users", json=note, headers=tenant.auth), 201)
            operator = suite.operator
            fine(await client.post(f"{TENANTS}/{tenant.id}/suspend", json={"reason": "x"}, headers=operator))
            fine(await client.post(f"{TENANTS}/{tenant.id}/reactivate", headers=operator))
            strange = tenant.auth | {"X-Tenant-Slug": "another-tenant"}
            refused(await client.get("/api/v1/users", headers=strange), 403, "tenant_mismatch")
        await drained(suite)
        log = Log(suite, test_servers, tenant.id)
        async with log.hand() as hand:
            stored = await hand.fetchval(
                "select string_agg(rows::text, '') from audit_logs as rows where tenant_id = $1", tenant.id
            )
            assert agent not in stored
            assert f"({address}" not in stored
        fresh = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
        path = f"{TENANTS}/{tenant.id}/audit-logs"
        rows = fine(await suite.client.get(path, params={"limit": 200}, headers=fresh.auth))
        from_there = [row for row in rows if row["userAgent"] == agent]
        assert {row["ip"] for row in from_there} == {address}
        seen = {(row["kind"], row["actorKind"], row["action"]) for row in from_there}
        assert seen >= {
            ("security", "member", "login.succeeded"),
            ("security", None, "login.failed"),
            ("request", "member", "GET /api/v1/users"),
            ("change", "member", "tenant.updated"),
            ("change", "operator", "tenant.suspended"),
            ("security", "member", "tenant_mismatch"),
        }


async def test_an_erased_user_keeps_a_pseudonym_in_a_log_that_verifies(
    suite: Suite, test_servers: TestServers
) -> None:
    tenant = await suite.tenant("custom")
    admin = await suite.user(tenant, "admin")
    fine(await patch(suite, tenant, admin.auth, maxUsers=5))
    await drained(suite)
    log = Log(suite, test_servers, tenant.id)
    await log.seal()
    before = await rows_of(suite, tenant, actor=str(admin.id))
    assert {row["kind"] for row in before} >= {"change", "security", "request"}
    assert None not in {row["ip"] for row in before}
    async with suite.tenancy("user").database.transaction(tenant.id) as session:
        assert await erase_actor(session, admin.id) == len(before)
    after = await rows_of(suite, tenant, actor=str(admin.id))
    assert after == [row | {"ip": None, "userAgent": None} for row in before]
    others = [row for row in await rows_of(suite, tenant) if row["actor"] != str(admin.id)]
    assert None not in {row["ip"] for row in others}
    await log.seal()
    assert (await log.verify()).bad is None
