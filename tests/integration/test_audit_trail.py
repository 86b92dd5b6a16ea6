"""Who did what: one row for each change, in its transaction, and one for each request, counted once."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from mis_tenancy.tenant import Role
from tests.answers import fine
from tests.integration.rig import USERS, Behind, behind, flush
from tests.isolation.routes import CLOSED, ROUTES, Declared, Who
from tests.isolation.world import World
from tests.servers import TestServers
from tests.suite import Suite

CHANGES = [route for route in CLOSED if not route.is_read]
BY_MEMBERS = [route for route in CHANGES if route.who is not Who.OPERATOR]
BY_OPERATORS = [route for route in CHANGES if route.who in (Who.OPERATOR, Who.TENANT) and route.operator]
# These concern no tenant; the platform's own log has them.
OF_THE_PLATFORM = {
    "PATCH /api/v1/plans/{plan}",
    "POST /api/v1/auth/signing-keys/rotate",
    "POST /api/v1/auth/operator/mfa/totp/enroll",
    "POST /api/v1/auth/operator/mfa/totp/confirm",
    "DELETE /api/v1/auth/operator/mfa/totp",
    "POST /api/v1/auth/operator/mfa/recovery-codes",
    "POST /api/v1/tenants/jobs/{job_id}/retry",
}


@pytest.fixture(scope="module")
async def facts(test_servers: TestServers) -> AsyncIterator[Behind]:
    async with behind(test_servers) as found:
        yield found


def each(routes: list[Declared]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", routes, ids=[route.name for route in routes])


async def carried_out(world: World, route: Declared, role: Role | None, **extra: Any) -> tuple[str, Any]:
    """Make a request that works and return its id and answer."""
    call = await world.call(route, role)
    if route.name == "DELETE /api/v1/auth/sessions" and call.caller is not None:
        # There must be another session to end.
        await world.suite.sign_in(call.tenant.slug, call.caller.email, call.caller.password)
    if route.path.endswith("/billing/resume"):
        # There must be a cancellation to take back.
        cancel = world.path(route, call.params).replace("/resume", "/cancel")
        fine(await world.suite.client.post(cancel, headers=call.tenant.auth))
    request_id = f"audit-{uuid4().hex}"
    headers = world.suite.operator if role is None else call.caller.auth  # type: ignore[union-attr]
    answer = await world.work(route, call, headers | {"X-Request-ID": request_id}, **extra)
    assert answer.status_code == route.status, answer.text
    await flush(world.suite)
    return request_id, answer


def kinds(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["kind"] for row in rows)


@each(BY_MEMBERS)
async def test_a_members_change_is_one_change_and_one_request(
    world: World, facts: Behind, route: Declared
) -> None:
    """Catalogue 128."""
    request_id, _ = await carried_out(world, route, route.least_role)
    rows = await facts.of_request(request_id)
    # A rehearsal changes nothing, so nothing but the request is to be told of it.
    expected = ["request"] if "dryRun" in route.query else ["change", "request"]
    assert kinds(rows) == expected, [(row["kind"], row["action"]) for row in rows]
    for row in rows:
        assert (row["outcome"], row["actor_kind"]) == ("success", "member")
    (request,) = [row for row in rows if row["kind"] == "request"]
    assert (request["action"], request["status"]) == (route.name, route.status)
    assert request["duration_us"] > 0


@each(BY_OPERATORS)
async def test_an_operators_change_is_in_the_log_of_the_tenant_it_concerns(
    world: World, facts: Behind, route: Declared
) -> None:
    """It is in the platform's log as well, or on its way there. Catalogue 97, 128."""
    request_id, _ = await carried_out(world, route, None)
    rows = await facts.of_request(request_id)
    # A rehearsal changes nothing, so nothing is to be told of it.
    changes = 0 if "dryRun" in route.query else 1
    assert len(rows) == (0 if route.name in OF_THE_PLATFORM else changes), [row["action"] for row in rows]
    on_platform = await facts.rows("select * from platform_audit_logs where request_id = $1", request_id)
    on_platform += await facts.carried(request_id)
    assert len(on_platform) == changes, [row["action"] for row in on_platform]
    assert {(row["action"], row["resource"]) for row in rows} <= {
        (row["action"], row["resource"]) for row in on_platform
    }
    for row in rows + on_platform:
        assert row["outcome"] == "success"
        assert row["kind"] == ("security" if route.path.endswith("/act-as") else "change")
    assert {row["actor_kind"] for row in rows} <= {"operator"}


REFUSED = [route for route in CHANGES if route.permission is not None and not route.serves(Role.VIEWER)]


@each(REFUSED)
async def test_a_refused_change_is_a_request_and_no_change(
    world: World, facts: Behind, route: Declared
) -> None:
    """Catalogue 128."""
    request_id = f"audit-{uuid4().hex}"
    headers = world.auth(Role.VIEWER) | {"X-Request-ID": request_id}
    answer = await world.work(route, await world.call(route), headers)
    assert answer.status_code == 403
    await flush(world.suite)
    (row,) = await facts.of_request(request_id)
    assert (row["kind"], row["outcome"], row["status"]) == ("request", "refused", 403)


async def test_no_secret_and_no_name_of_a_person_is_in_the_log(suite: Suite, facts: Behind) -> None:
    """Catalogue 134."""
    tenant = await suite.tenant("custom")
    secret = f"Canary-7-{uuid4().hex}"
    body = {
        "email": f"{secret}@x.example",
        "name": secret,
        "password": secret,
        "attributes": {"note": secret},
    }
    fine(await suite.client.post(USERS, json=body, headers=tenant.auth), 201)
    setting = {"configKey": "app.secret", "configValue": secret, "isEncrypted": True}
    fine(await suite.client.post(f"/api/v1/tenants/{tenant.id}/config", json=setting, headers=tenant.auth))
    login = {"email": body["email"], "password": secret, "tenantSlug": tenant.slug}
    fine(await suite.post_anonymously("/api/v1/auth/login", login))
    await flush(suite)
    for table in ("audit_logs", "tenant_configurations", "tenant_configuration_versions"):
        sql = f"select count(*) from {table} t where tenant_id = $1 and lower(t::text) like $2"  # noqa: S608
        assert await facts.value(sql, tenant.id, f"%{secret.lower()}%") == 0, table


async def test_usage_counts_exactly_the_requests_of_the_log(suite: Suite, facts: Behind) -> None:
    tenant = await suite.tenant("custom")
    for number in range(25):
        path = (USERS, "/api/v1/auth/me", f"/api/v1/tenants/{tenant.id}", f"{USERS}/{uuid4()}")[number % 4]
        await suite.client.get(path, headers=tenant.auth)
    await suite.client.get(USERS, headers=tenant.auth | {"X-Tenant-ID": str(uuid4())})
    await suite.client.get(USERS, headers={"X-Tenant-ID": str(tenant.id)})
    await suite.client.get(f"/api/v1/tenants/{tenant.id}", headers=suite.operator)
    await flush(suite)
    usage = await facts.rows(
        "select sum(requests)::int as requests, sum(client_errors)::int as client_errors, "
        "sum(counted)::int as counted from usage_hours where tenant_id = $1",
        tenant.id,
    )
    logged = await facts.value(
        "select count(*) from audit_logs where tenant_id = $1 and kind = 'request'", tenant.id
    )
    assert usage == [{"requests": logged, "client_errors": 7, "counted": 26}]
    assert logged == 26


def test_every_change_is_tried_here() -> None:
    """A new route that changes something cannot forget its trail."""
    tried = {route.name for route in (*BY_MEMBERS, *BY_OPERATORS)}
    assert {route.name for route in ROUTES if not route.is_read and not route.who.is_open} == tried
