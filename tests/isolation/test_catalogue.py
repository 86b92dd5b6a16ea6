"""What Postgres' catalogue says of the tables, policies, roles and privileges."""

import pytest

from mis_cli.distribution.layout import spread_names
from mis_cli.embedded import DatabaseUrls
from mis_tenancy.tables import Base, TenantScoped
from tenant_service.endings.tables import purged_tables, sweep_key
from tests.citus import break_rule
from tests.database import bound, connected, tenant_tables
from tests.isolation.catalogue import (
    HELD_BY_POLICY,
    OUTSIDE,
    function_violations,
    policy_violations,
    reach_violations,
    relations,
    spreading_violations,
    tenant_table_violations,
)

SCOPED = {
    getattr(mapper.local_table, "name", "")
    for mapper in Base.registry.mappers
    if issubclass(mapper.class_, TenantScoped)
}


def test_every_mapped_table_is_a_tenants_or_on_the_closed_list() -> None:
    """Catalogue 32, 51."""
    assert set(Base.metadata.tables) - set(OUTSIDE) == SCOPED
    assert not SCOPED & set(OUTSIDE)


async def test_the_database_has_the_mapped_tables_and_no_others(urls: DatabaseUrls) -> None:
    """Catalogue 38."""
    async with connected(urls.owner) as connection:
        assert await relations(connection) == set(Base.metadata.tables) | {"alembic_version"}


async def test_every_tenant_table_keeps_the_rules(urls: DatabaseUrls) -> None:
    """Catalogue 32, 39, 51."""
    async with connected(urls.owner) as connection:
        assert await tenant_table_violations(connection) == []
        assert await policy_violations(connection) == []


@pytest.mark.parametrize(
    ("breaking", "found"),
    [
        ("create table loose (id uuid primary key)", "loose has no tenant_id"),
        (
            "create table loose (tenant_id uuid, id uuid, primary key (tenant_id, id))",
            "loose lacks ENABLE or FORCE",
        ),
        ("create table loose (tenant_id uuid, id uuid primary key)", "loose has no primary key that leads"),
        ("alter table users no force row level security", "users lacks ENABLE or FORCE"),
        ("alter table sessions disable row level security", "sessions lacks ENABLE or FORCE"),
        ("drop policy tenant_isolation on user_terms", "user_terms has no policy for mis_app"),
        ("create policy wide on users to mis_app using (true)", "users.wide does not hold mis_app"),
        ("create policy wide on users to public using (true) with check (true)", "users.wide does not hold"),
        ("drop policy owner on users", "users hides its rows from the owner"),
        ("create unique index one_email on users (email_norm)", "users.one_email is unique over all tenants"),
        ("alter table users alter id set default gen_random_uuid()", "users.id is made by the database"),
        ("alter table users add n bigint generated always as identity", "users.n is made by the database"),
        (
            "create unique index on operators (id); "
            "alter table users add boss uuid references operators (id)",
            "users_boss_fkey points to operators without tenant_id",
        ),
        (
            "create function nothing() returns trigger language plpgsql as 'begin return new; end'; "
            "create trigger watch before insert on users for each row execute function nothing()",
            "users has the trigger watch",
        ),
    ],
)
async def test_a_table_that_breaks_a_rule_is_found(urls: DatabaseUrls, breaking: str, found: str) -> None:
    """Catalogue 32."""
    async with bound(urls.owner, None) as connection:
        await break_rule(connection, breaking)
        assert any(found in wrong for wrong in await tenant_table_violations(connection))


async def test_no_role_of_the_application_reaches_a_relation_past_the_policies(urls: DatabaseUrls) -> None:
    """Catalogue 38."""
    async with connected(urls.owner) as connection:
        assert await reach_violations(connection) == []
        assert await function_violations(connection) == []


async def test_every_tenant_table_can_be_spread_over_nodes(urls: DatabaseUrls) -> None:
    """Catalogue 51."""
    assert spread_names() == SCOPED
    async with connected(urls.owner) as connection:
        assert await spreading_violations(connection, spread_names()) == []


@pytest.mark.parametrize(
    ("breaking", "found"),
    [
        (
            "alter table operators add tenant_id uuid, add member uuid, "
            "add foreign key (tenant_id, member) references users",
            "ties a table of the coordinator's",
        ),
        (
            "create unique index on operators (id); "
            "alter table users add boss uuid references operators (id)",
            "users.users_boss_fkey leaves the tenant's node",
        ),
        (
            "alter table users add other uuid, add foreign key (other) references tenants",
            "users.users_other_fkey leaves the tenant's node",
        ),
        (
            "alter table users add boss uuid, add foreign key (tenant_id, boss) references users "
            "on delete set null (boss)",
            "users.users_tenant_id_boss_fkey sets columns",
        ),
        ("alter table webhooks alter tenant_id drop not null", "webhooks cannot be spread"),
        ("create rule quiet as on delete to users do instead nothing", "users cannot be spread"),
    ],
)
async def test_a_table_that_could_not_be_spread_is_found(
    urls: DatabaseUrls, breaking: str, found: str
) -> None:
    """Catalogue 51."""
    async with bound(urls.owner, None) as connection:
        if "drop not null" in breaking:
            await break_rule(connection, "alter table webhooks drop constraint pk_webhooks cascade")
        await break_rule(connection, breaking)
        assert any(found in wrong for wrong in await spreading_violations(connection, spread_names()))


@pytest.mark.parametrize(
    ("breaking", "found"),
    [
        ("create view people as select * from users; grant select on people to mis_app", "reaches people"),
        (
            "create materialized view stale as select * from users; grant select on stale to mis_auth",
            "reaches stale",
        ),
        ("grant select on audit_logs_default to mis_app", "the partition audit_logs_default by its own name"),
        (
            "create table loose (id uuid); grant select (id) on loose to mis_platform",
            "loose, which has no row-level",
        ),
        ("create sequence counter; grant usage on counter to mis_app", "reaches counter"),
        ("grant select on operators to mis_app", "mis_app reaches operators"),
        (
            "create function peek() returns bigint language sql as 'select count(*) from users'",
            "peek is not on",
        ),
        ("alter function ensure_audit_partitions(integer) reset all", "search_path of the caller's"),
        ("grant execute on function ensure_audit_partitions(integer) to public", "mis_app may execute"),
        ("revoke execute on function ensure_audit_partitions(integer) from mis_platform", "may not execute"),
    ],
)
async def test_a_way_past_the_policies_is_found(urls: DatabaseUrls, breaking: str, found: str) -> None:
    """Catalogue 38."""
    async with bound(urls.owner, None) as connection:
        await connection.execute(breaking)
        wrong = await reach_violations(connection) + await function_violations(connection)
        assert any(found in one for one in wrong)


@pytest.mark.parametrize(
    "breaking", ["using (tenant_id in (select id from tenants))", "using (exists (select 1))"]
)
async def test_a_policy_that_citus_would_refuse_is_found(urls: DatabaseUrls, breaking: str) -> None:
    """Catalogue 51."""
    async with bound(urls.owner, None) as connection:
        await break_rule(connection, f"create policy clever on users as restrictive to mis_app {breaking}")
        assert await policy_violations(connection) == ["users.clever has a sub-select"]


async def test_uniques_over_all_tenants_are_a_closed_list(urls: DatabaseUrls) -> None:
    """Catalogue 39."""
    async with connected(urls.owner) as connection:
        found = await connection.fetch(
            "select indexrelid::regclass::text as name from pg_index x where indisunique and "
            "not indisprimary and indrelid = any($1::text[]::regclass[]) and not exists (select "
            "from pg_attribute a where a.attrelid = x.indrelid and a.attname = 'tenant_id' "
            "and a.attnum = any(x.indkey))",
            ["tenants", *(table.name for table in tenant_tables())],
        )
    # `lane` in the jobs' unique is the tenant.
    assert {row["name"] for row in found} == {
        "uq_tenants_slug",
        "uq_tenants_subdomain",
        "uq_tenants_verified_domain",
        "uq_jobs_dedupe_key",
    }


async def test_tables_on_the_closed_list_that_name_tenants_are_held_by_policies_or_out_of_reach(
    urls: DatabaseUrls,
) -> None:
    """Catalogue 32."""
    named = {table.name for table in tenant_tables()} - SCOPED - HELD_BY_POLICY
    of_the_platform = {"platform_audit_logs", "platform_idempotency_keys", "deletion_certificates"}
    assert named == of_the_platform | {"revocations"}
    async with connected(urls.owner) as connection:
        for table in sorted(of_the_platform):
            assert not await connection.fetchval(
                "select has_any_column_privilege('mis_app', $1, 'select')", table
            )
        written = await connection.fetchval(
            "select pg_get_expr(polwithcheck, polrelid) from pg_policy "
            "where polrelid = 'revocations'::regclass and polname = 'write'"
        )
    assert "app.tenant_id" in written


async def test_no_application_role_is_strong_owns_anything_or_inherits_what_is(urls: DatabaseUrls) -> None:
    """Catalogue 34."""
    async with connected(urls.owner) as connection:
        roles = await connection.fetch(
            "select rolname, "
            "rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication as strong, "
            "exists (select from pg_class where relowner = r.oid) as owns, "
            "array(select roleid::regrole::text from pg_auth_members where member = r.oid) as of "
            "from pg_roles r where rolname like 'mis\\_%' order by 1"
        )
    assert [(row["rolname"], row["strong"], row["owns"], row["of"]) for row in roles] == [
        ("mis_app", False, False, []),
        ("mis_auth", False, False, ["mis_app"]),
        ("mis_owner", False, True, []),
        ("mis_platform", False, False, []),
    ]


async def test_the_platform_can_purge_every_table_of_tenants(
    urls: DatabaseUrls,
) -> None:
    """A revision that makes a table grants the platform's role its deletion and its key. Catalogue 119."""
    lacking = []
    async with connected(urls.platform) as connection:
        for table in purged_tables():
            held = "select has_table_privilege($1, 'delete')"
            if not await connection.fetchval(held, table.name):
                lacking.append(f"grant delete on {table.name} to mis_platform")
            for column in (table.c.tenant_id, *sweep_key(table)):
                readable = "select has_column_privilege($1, $2, 'select')"
                if not await connection.fetchval(readable, table.name, column.name):
                    lacking.append(f"grant select ({column.name}) on {table.name} to mis_platform")
    assert lacking == []


SECRETS = {
    "users": ["email", "email_norm", "name", "password_hash", "attributes", "last_login_at"],
    "user_terms": ["term", "stem"],
    "sessions": ["user_id", "ip", "user_agent", "created_at", "last_seen_at"],
    "refresh_tokens": ["token_hash"],
    "invitations": ["email", "email_norm", "role", "token_hash"],
    "api_keys": ["name", "prefix", "key_hash", "scopes", "created_by", "last_used_at"],
    "account_tokens": ["user_id", "email", "token_hash"],
    "totp_factors": ["secret", "last_step", "confirmed_at"],
    "recovery_codes": ["user_id", "code_hash"],
    "passkeys": ["user_id", "credential_id", "public_key", "user_handle", "name", "last_used_at"],
    "sso_identities": ["issuer", "subject", "user_id", "created_at", "last_used_at"],
    "sso_attempts": ["state_hash", "browser_hash", "issuer", "callback", "next_path", "expires_at"],
    "challenges": ["user_id", "token_hash"],
    "media": ["filename", "content_type", "size", "sha256", "owner_id", "uploaded_by", "created_at"],
    "verifications": ["user_id", "status", "checks", "image_key", "requested_by"],
    "tenant_configurations": ["config_value"],
    "tenant_configuration_versions": ["config_value"],
    "tenant_data_keys": ["wrapped_key"],
    "idempotency_keys": ["answer", "fingerprint"],
}


@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table in SECRETS for column in SECRETS[table]]
)
async def test_the_platform_cannot_read_what_is_the_tenants_own(
    urls: DatabaseUrls, table: str, column: str
) -> None:
    async with connected(urls.platform) as connection:
        assert not await connection.fetchval("select has_column_privilege($1, $2, 'select')", table, column)


@pytest.mark.parametrize("role", ["mis_app", "mis_auth"])
@pytest.mark.parametrize("privilege", ["update", "delete", "truncate"])
async def test_the_audit_log_only_grows(urls: DatabaseUrls, role: str, privilege: str) -> None:
    async with connected(urls.owner) as connection:
        question = f"select has_table_privilege('{role}', 'audit_logs', '{privilege}')"
        assert not await connection.fetchval(question)
        if privilege == "update":
            assert not await connection.fetchval(
                f"select has_any_column_privilege('{role}', 'audit_logs', 'update')"
            )


@pytest.mark.parametrize("role", ["mis_app", "mis_auth", "mis_platform"])
async def test_no_application_role_truncates_or_makes_objects(urls: DatabaseUrls, role: str) -> None:
    """Catalogue 42."""
    async with connected(urls.owner) as connection:
        for table in (*Base.metadata.tables, "alembic_version"):
            for privilege in ("truncate", "references", "trigger"):
                assert not await connection.fetchval(
                    "select has_table_privilege($1, $2, $3)", role, table, privilege
                )
        assert not await connection.fetchval("select has_schema_privilege($1, 'public', 'create')", role)
        for privilege in ("create", "temporary"):
            held = "select has_database_privilege($1, current_database(), $2)"
            assert not await connection.fetchval(held, role, privilege)


@pytest.mark.parametrize("role", ["mis_app", "mis_auth", "mis_platform"])
async def test_no_statement_or_idle_transaction_of_the_application_lasts_for_ever(
    urls: DatabaseUrls, role: str
) -> None:
    """Catalogue 48."""
    url = {"mis_app": urls.app, "mis_auth": urls.auth, "mis_platform": urls.platform}[role]
    async with connected(url) as connection:
        for setting in ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout"):
            assert await connection.fetchval("select current_setting($1)", setting) not in ("0", "")
