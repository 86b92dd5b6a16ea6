"""Who may touch which rows: policies and privileges of the four roles.

A policy compares `tenant_id` with the transaction's setting and has no sub-select, because Citus refuses one. The
setting is '' after a transaction that used it, hence nullif. FORCE binds the owner too, so each table also names
mis_owner, or backfills and dumps would see no rows.
"""

from typing import NamedTuple

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BOUND = "nullif(current_setting('app.tenant_id', true), '')::uuid"
EVERYTHING = "select, insert, update, delete"


class Rights(NamedTuple):
    """Privileges on one table; `platform_sees_all` lets mis_platform cross tenants there on purpose."""

    app: str = ""
    platform: str = ""
    platform_sees_all: bool = False


# Tables with a tenant_id of one tenant per row.
TENANT_TABLES = {
    "tenant_configurations": Rights(
        EVERYTHING, "insert, delete, select (tenant_id, id, config_key, is_encrypted, version)"
    ),
    "tenant_configuration_versions": Rights(
        EVERYTHING, "insert, delete, select (tenant_id, config_key, version, is_encrypted, deleted)"
    ),
    "tenant_data_keys": Rights(
        EVERYTHING, "insert, delete, select (tenant_id, version, master_key_id, created_at, retired_at)"
    ),
    "tenant_profiles": Rights(EVERYTHING, EVERYTHING),
    "tenant_counters": Rights(EVERYTHING, EVERYTHING, platform_sees_all=True),
    "tenant_names": Rights(EVERYTHING, EVERYTHING, platform_sees_all=True),
    "audit_logs": Rights("select, insert", "select, insert, delete"),
    "usage_hours": Rights("select, insert, update", EVERYTHING, platform_sees_all=True),
    "users": Rights(
        EVERYTHING,
        "insert, delete, select (tenant_id, id, role, status, epoch, version, created_at)",
    ),
    "user_terms": Rights(EVERYTHING, "insert, delete, select (tenant_id, user_id)"),
    "sessions": Rights(EVERYTHING, "delete, select (tenant_id, id, expires_at)", platform_sees_all=True),
    "refresh_tokens": Rights(EVERYTHING, "delete, select (tenant_id, id, session_id)"),
    "idempotency_keys": Rights(
        EVERYTHING,
        "delete, select (tenant_id, principal_id, method, path, key, created_at)",
        platform_sees_all=True,
    ),
    "jobs": Rights("select, insert", EVERYTHING, platform_sees_all=True),
}

# Tables without one: the directory, and what belongs to the platform.
DIRECTORY_COLUMNS = (
    "name, slug, subdomain, domain, domain_verified_at, plan, status, status_reason, status_since, purge_at, "
    "max_users, max_storage, epoch, version, updated_at"
)
PLATFORM_TABLES = {
    "public_signing_keys": {"mis_app": "select", "mis_platform": "select", "mis_auth": EVERYTHING},
    "revocations": {"mis_app": "select, insert", "mis_platform": EVERYTHING},
    "plan_prices": {"mis_app": "select", "mis_platform": "select, insert"},
    "platform_audit_logs": {"mis_auth": "select, insert", "mis_platform": "select, insert, delete"},
    "operators": {"mis_auth": EVERYTHING},
    "operator_sessions": {"mis_auth": EVERYTHING},
    "operator_refresh_tokens": {"mis_auth": EVERYTHING},
    "signing_keys": {"mis_auth": EVERYTHING},
    "login_throttles": {"mis_auth": EVERYTHING},
    "platform_idempotency_keys": {"mis_auth": EVERYTHING, "mis_platform": EVERYTHING},
    "schedules": {"mis_platform": "select, insert, update"},
}


def upgrade() -> None:
    for table, rights in TENANT_TABLES.items():
        protect(table)
        isolate(table, "mis_app, mis_platform")
        if rights.platform_sees_all:
            policy(table, "platform", "mis_platform", "true")
        grant(table, "mis_app", rights.app)
        grant(table, "mis_platform", rights.platform)
    for table, privileges in PLATFORM_TABLES.items():
        for role, listed in privileges.items():
            grant(table, role, listed)
    directory()
    revocations()
    audit_partitions()


def downgrade() -> None:
    op.execute("drop function ensure_audit_partitions(integer)")
    for table in (*TENANT_TABLES, *partitions(), "tenants", "revocations"):
        for name in (
            "tenant_isolation",
            "owner",
            "platform",
            "directory_read",
            "directory_write",
            "read",
            "write",
        ):
            op.execute(f"drop policy if exists {name} on {table}")
        op.execute(f"alter table {table} no force row level security")
        op.execute(f"alter table {table} disable row level security")
    for table in (*TENANT_TABLES, *PLATFORM_TABLES, "tenants"):
        op.execute(f"revoke all on {table} from mis_app, mis_auth, mis_platform")


def directory() -> None:
    """Let every service read the directory, and a tenant write its own row."""
    protect("tenants")
    policy("tenants", "directory_read", "mis_app", "true", command="select")
    policy("tenants", "directory_write", "mis_app", f"id = {BOUND}", command="update")
    policy("tenants", "platform", "mis_platform", "true")
    op.execute("grant select on tenants to mis_app")
    op.execute(f"grant update ({DIRECTORY_COLUMNS}) on tenants to mis_app")
    op.execute(f"grant {EVERYTHING} on tenants to mis_platform")


def revocations() -> None:
    """Let everybody hear all news, and a tenant's transaction spread only its own tenant's."""
    protect("revocations")
    policy("revocations", "read", "mis_app, mis_platform", "true", command="select")
    op.execute(f"create policy write on revocations for insert to mis_app with check (tenant_id = {BOUND})")
    policy("revocations", "platform", "mis_platform, mis_auth", "true")


def audit_partitions() -> None:
    """Give mis_platform a way to make the coming months' partitions without the right to make tables."""
    op.execute(
        """
        create function ensure_audit_partitions(months integer) returns integer
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
        declare
            first timestamp;
            made integer := 0;
            part text;
            bounds uuid[];
        begin
            for step in -1..months loop
                first := (date_trunc('month', now() at time zone 'UTC') + make_interval(months => step));
                part := 'audit_logs_' || to_char(first, 'YYYYMM');
                continue when to_regclass('public.' || part) is not null;
                -- The lowest UUIDv7 of a moment: 48 bits of milliseconds, then the version and the variant.
                select array_agg((lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0')
                                  || '70008000000000000000')::uuid order by moment)
                  into bounds from unnest(array[first, first + interval '1 month']) as moment;
                execute format(
                    'create table public.%I partition of public.audit_logs for values from (%L) to (%L)',
                    part, bounds[1], bounds[2]);
                execute format('alter table public.%I enable row level security', part);
                execute format('alter table public.%I force row level security', part);
                execute format(
                    'create policy owner on public.%I to mis_owner using (true) with check (true)', part);
                made := made + 1;
            end loop;
            return made;
        end
        $$
        """
    )
    op.execute("revoke all on function ensure_audit_partitions(integer) from public")
    op.execute("grant execute on function ensure_audit_partitions(integer) to mis_platform")
    op.execute("select ensure_audit_partitions(3)")
    # A record whose month has no partition (an old spool adopted late) is kept rather than refused.
    op.execute("create table if not exists audit_logs_default partition of audit_logs default")
    for table in partitions():
        op.execute(f"drop policy if exists owner on {table}")
        protect(table)


def partitions() -> list[str]:
    """Return the names of the partitions of audit_logs; a downgrade keeps them, and the rows in them."""
    found = op.get_bind().exec_driver_sql(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'audit_logs'::regclass order by 1"
    )
    return list(found.scalars())


def protect(table: str) -> None:
    """Turn row-level security on for everybody, the owner too, and let the owner through by name."""
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    policy(table, "owner", "mis_owner", "true")


def isolate(table: str, roles: str) -> None:
    """Show and accept only the rows of the transaction's tenant."""
    policy(table, "tenant_isolation", roles, f"tenant_id = {BOUND}")


def policy(table: str, name: str, roles: str, condition: str, command: str = "all") -> None:
    """Create a policy whose USING and WITH CHECK are the same condition."""
    check = "" if command == "select" else f" with check ({condition})"
    op.execute(f"create policy {name} on {table} for {command} to {roles} using ({condition}){check}")


def grant(table: str, role: str, privileges: str) -> None:
    """Grant a comma-separated list of privileges, columns included."""
    if privileges:
        op.execute(f"grant {privileges} on {table} to {role}")
