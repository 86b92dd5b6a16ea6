"""Verifying isolation on a database of its own, so that each guard can be taken away and be missed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.identifiers import new_id
from mis_tenancy.isolation import catalogue, rules
from mis_tenancy.isolation.facts import Role
from mis_tenancy.redis import Redis, RedisUnavailable
from mis_tenancy.storage import Storage
from tenant_service.isolation import prefixes
from tests.answers import fine, refused
from tests.citus import break_rule, on_cluster
from tests.database import connected, tenant_tables
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, running_suite
from tests.tenant_service.requests import TENANTS, audit_rows

NAMES = [
    *("roles", "row_level_security", "policies", "composite_keys", "privileges"),
    *("rows_of_others", "rows_of_nobody", "redis_prefix", "storage_prefix"),
]
# The platform's own; no tenant's transaction reaches them.
OF_THE_PLATFORM = {"platform_audit_logs", "platform_idempotency_keys", "deletion_certificates"}
HELD = [table.name for table in tenant_tables() if table.name not in OF_THE_PLATFORM]
STRICT = [name for name in HELD if name != "revocations"]


class OwnDatabase(TestServers):
    """The run's servers, whose database for a suite is a further one."""

    def database(self, name: str | None = None) -> DatabaseUrls:
        return super().database(name or "isolation_verify")


@pytest.fixture(scope="module")
def own_servers(test_servers: TestServers) -> OwnDatabase:
    return OwnDatabase(test_servers.postgres, test_servers.redis_url, test_servers.worker)


@pytest.fixture(scope="module")
async def own_suite(
    own_servers: OwnDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    async with running_suite(own_servers, tmp_path_factory.mktemp("isolation")) as suite:
        yield suite


@pytest.fixture(scope="module")
async def tenant(own_suite: Suite) -> TenantHandle:
    await own_suite.tenant("custom")
    return await own_suite.tenant("custom")


async def verify(suite: Suite, tenant: TenantHandle) -> Any:
    path = f"{TENANTS}/{tenant.id}/isolation/verify"
    return fine(await suite.client.post(path, headers=suite.operator))


def failed(document: Any) -> list[str]:
    return [check["name"] for check in document["checks"] if not check["passed"]]


@asynccontextmanager
async def changed(servers: TestServers, change: str, back: str) -> AsyncIterator[asyncpg.Connection]:
    """Change the database as its owner, and back."""
    async with connected(servers.database().owner) as owner:
        await break_rule(owner, change)
        try:
            yield owner
        finally:
            await owner.execute(back)


async def test_a_sound_suite_is_isolated(own_suite: Suite, tenant: TenantHandle) -> None:
    document = await verify(own_suite, tenant)
    assert document["status"] == "isolated", document
    assert [check["name"] for check in document["checks"]] == NAMES
    assert all(set(check) == {"name", "passed", "detail"} and check["detail"] for check in document["checks"])


@pytest.mark.parametrize("table", STRICT)
async def test_dropping_one_tables_policy_is_a_breach(
    own_suite: Suite, own_servers: OwnDatabase, tenant: TenantHandle, table: str
) -> None:
    """Catalogue 32."""
    bound = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
    back = (
        f"create policy tenant_isolation on {table} to mis_app, mis_platform "
        f"using ({bound}) with check ({bound})"
    )
    async with changed(own_servers, f"drop policy tenant_isolation on {table}", back):
        document = await verify(own_suite, tenant)
        assert document["status"] == "breached"
        assert "policies" in failed(document)
    assert (await verify(own_suite, tenant))["status"] == "isolated"


BROKEN = [
    ("alter table {0} disable row level security", "alter table {0} enable row level security"),
    ("alter table {0} no force row level security", "alter table {0} force row level security"),
    ("create policy wide on {0} to mis_app using (true)", "drop policy wide on {0}"),
]


@pytest.mark.parametrize("table", STRICT)
@pytest.mark.parametrize(("change", "back"), BROKEN, ids=["disabled", "not forced", "widened"])
async def test_an_opened_table_is_a_breach(
    own_suite: Suite, own_servers: OwnDatabase, tenant: TenantHandle, table: str, change: str, back: str
) -> None:
    """Catalogue 32."""
    async with changed(own_servers, change.format(table), back.format(table)):
        assert (await verify(own_suite, tenant))["status"] == "breached"


@pytest.mark.parametrize(
    ("change", "back", "check"),
    [
        (
            "alter policy tenant_isolation on users using (tenant_id is not null)",
            "alter policy tenant_isolation on users "
            "using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)",
            "policies",
        ),
        ("create policy w on users to public using (true)", "drop policy w on users", "policies"),
        (
            "create policy w on users for insert to mis_app with check (true)",
            "drop policy w on users",
            "policies",
        ),
        ("create policy w on users to mis_platform using (true)", "drop policy w on users", "policies"),
        ("create policy w on tenants to mis_app using (true)", "drop policy w on tenants", "policies"),
        (
            "create policy w on revocations for insert to mis_app with check (true)",
            "drop policy w on revocations",
            "policies",
        ),
        ("create unique index w on users (email_norm)", "drop index w", "composite_keys"),
        ("grant update on audit_logs to mis_app", "revoke update on audit_logs from mis_app", "privileges"),
        (
            "grant update (outcome) on audit_logs to mis_auth",
            "revoke update (outcome) on audit_logs from mis_auth",
            "privileges",
        ),
        ("grant delete on audit_logs to mis_app", "revoke delete on audit_logs from mis_app", "privileges"),
        ("grant truncate on users to mis_app", "revoke truncate on users from mis_app", "privileges"),
        ("grant select on operators to mis_app", "revoke select on operators from mis_app", "privileges"),
        (
            "grant select on audit_logs_default to mis_app",
            "revoke select on audit_logs_default from mis_app",
            "privileges",
        ),
        ("create view w as select * from users; grant select on w to mis_app", "drop view w", "privileges"),
        (
            "grant create on schema public to mis_app",
            "revoke create on schema public from mis_app",
            "privileges",
        ),
        (
            "grant execute on function ensure_audit_partitions to mis_app",
            "revoke execute on function ensure_audit_partitions from mis_app",
            "privileges",
        ),
        ("create table w (id uuid); grant select on w to mis_app", "drop table w", "privileges"),
        (
            "create table w (tenant_id uuid primary key); grant select on w to mis_app",
            "drop table w",
            "row_level_security",
        ),
    ],
)
async def test_each_guard_that_is_taken_away_is_missed(
    own_suite: Suite, own_servers: OwnDatabase, tenant: TenantHandle, change: str, back: str, check: str
) -> None:
    """Catalogue 32, 38, 39 and 129."""
    async with changed(own_servers, change, back):
        document = await verify(own_suite, tenant)
        assert document["status"] == "breached"
        assert check in failed(document)
    assert (await verify(own_suite, tenant))["status"] == "isolated"


async def test_rows_that_a_hole_lets_through_are_seen_and_not_only_the_hole(
    own_suite: Suite, own_servers: OwnDatabase, tenant: TenantHandle
) -> None:
    """Catalogue 30."""
    async with changed(
        own_servers,
        "alter table users disable row level security",
        "alter table users enable row level security",
    ):
        document = await verify(own_suite, tenant)
    assert failed(document) == ["row_level_security", "privileges", "rows_of_others", "rows_of_nobody"]
    details = {check["name"]: check["detail"] for check in document["checks"]}
    assert details["rows_of_others"] == "users shows rows of other tenants"


async def test_a_hole_in_the_policies_shows_in_the_tenants_health_too(
    own_suite: Suite, own_servers: OwnDatabase, tenant: TenantHandle
) -> None:
    """Catalogue 30."""
    switch = "alter table tenant_counters {} row level security"
    async with changed(own_servers, switch.format("disable"), switch.format("enable")):
        path = f"{TENANTS}/{tenant.id}/health"
        document = fine(await own_suite.client.get(path, headers=own_suite.operator))
    assert document["checks"]["database"] is False
    assert document["checkDetails"]["database"]["detail"].startswith("Rows of other tenants")


async def test_a_restrictive_policy_and_one_that_says_the_same_are_no_breach(
    own_suite: Suite, own_servers: OwnDatabase, tenant: TenantHandle
) -> None:
    bound = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
    for change in (
        "create policy w on users as restrictive to mis_app using (true)",
        f"create policy w on users for select to mis_app using ({bound})",
    ):
        # On its nodes Citus makes a restrictive policy a permissive one, which is a breach indeed.
        status = "breached" if on_cluster() and "restrictive" in change else "isolated"
        async with changed(own_servers, change, "drop policy w on users"):
            assert (await verify(own_suite, tenant))["status"] == status


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ("alter role mis_auth bypassrls", "mis_auth is superuser, has BYPASSRLS or may make roles"),
        ("alter role mis_app createrole", "mis_app is superuser, has BYPASSRLS or may make roles"),
        ("grant pg_read_all_data to mis_platform", "mis_platform can act as pg_read_all_data"),
        ("grant mis_owner to mis_app", "mis_app can act as mis_owner"),
        ("alter table users owner to mis_auth", "mis_auth owns tables"),
        ("set local role mis_platform", "this service is connected as mis_platform"),
    ],
)
async def test_a_role_that_became_strong_is_a_breach(
    own_suite: Suite, own_servers: OwnDatabase, change: str, wrong: str
) -> None:
    """Catalogue 34."""
    # Roles are the whole server's, so this stays in a transaction that nobody else sees and that is undone.
    name = own_servers.database().app.partition("?")[0].rpartition("/")[2]
    server = own_servers.postgres.superuser_url.rpartition("/")[0]
    async with connected(f"{server}/{name}") as superuser:
        transaction = superuser.transaction()
        await transaction.start()
        await superuser.execute(change)
        roles = ["mis_app", "mis_auth", "mis_platform"]
        rows = await superuser.fetch(catalogue._ROLES.replace(":roles", "$1"), roles)
        await transaction.rollback()
    found = [
        Role(**dict(row) | {"member_of": tuple(row["member_of"])}) for row in rows if row["name"] in roles
    ]
    assert wrong in rules.strong_roles(found)


async def test_a_store_or_redis_that_mixes_tenants_is_a_breach(
    own_suite: Suite, monkeypatch: pytest.MonkeyPatch, tenant: TenantHandle
) -> None:
    """Catalogue 108 and 111."""

    def one_place_for_all(self: Storage, _: Any) -> Any:
        return of(self, tenant.id)

    of = Storage.of
    monkeypatch.setattr(Storage, "of", one_place_for_all)
    monkeypatch.setattr(prefixes, "tenant_key", lambda _, *parts: ":".join(parts))
    assert failed(await verify(own_suite, tenant)) == ["redis_prefix", "storage_prefix"]


async def test_a_part_that_does_not_answer_is_no_verdict(
    own_suite: Suite, monkeypatch: pytest.MonkeyPatch, tenant: TenantHandle
) -> None:
    """Catalogue 141."""

    async def away(*_: object) -> None:
        raise RedisUnavailable("Redis is away.")

    monkeypatch.setattr(Redis, "command", away)
    path = f"{TENANTS}/{tenant.id}/isolation/verify"
    answer = await own_suite.client.post(path, headers=own_suite.operator)
    assert refused(answer, 503, "verification_incomplete")["parts"] == ["redis"]


async def test_a_verification_is_audited_and_leaves_nothing_else(own_suite: Suite) -> None:
    """Catalogue 128."""
    tenant = await own_suite.tenant("custom")
    before = len(await audit_rows(own_suite, tenant.id))
    await verify(own_suite, tenant)
    rows = await audit_rows(own_suite, tenant.id)
    assert len(rows) == before + 1
    assert rows[0]["action"] == "isolation.verified"
    storage: Storage = own_suite.apps["tenant"].state.storage
    assert [stored async for stored in storage.of(tenant.id).list()] == []
    redis = own_suite.tenancy("tenant").redis
    assert redis is not None
    assert await redis.command("KEYS", f"*{tenant.id}*isolation*") == []


async def test_admins_verify_their_own_tenant_and_nobody_elses(
    own_suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 93."""
    path = f"{TENANTS}/{tenant.id}/isolation/verify"
    admin = await own_suite.user(tenant, "admin")
    member = await own_suite.user(tenant, "member")
    other = await own_suite.tenant("custom")
    fine(await own_suite.client.post(path, headers=admin.auth))
    problem = refused(await own_suite.client.post(path, headers=member.auth), 403, "permission_denied")
    assert problem["required"] == "audit:read"
    refused(await own_suite.client.post(path, headers=other.auth), 404, "tenant_not_found")
    refused(await own_suite.client.post(path), 401, "authentication_required")
    unknown = f"{TENANTS}/{new_id()}/isolation/verify"
    refused(await own_suite.client.post(unknown, headers=own_suite.operator), 404, "tenant_not_found")
