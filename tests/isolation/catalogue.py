"""The rules that every table keeps, checked against Postgres' own catalogue and not against what we meant.

Each function returns a list of violations, so that the tests can also show that a broken rule is seen.
"""

from typing import Any, Final

import asyncpg

BOUND: Final = "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"

# Tables outside the rules of a tenant table, and why (architecture §4.5 and the decision pages).
OUTSIDE: Final = {
    "tenants": "the directory: global uniques of names; readable by every service",
    "tenant_names": "one namespace of slugs and subdomains over all tenants",
    "operators": "the platform's staff",
    "operator_sessions": "the platform's staff",
    "operator_refresh_tokens": "the platform's staff",
    "signing_keys": "the platform's keys",
    "public_signing_keys": "the platform's keys, in public",
    "login_throttles": "counters over accounts and addresses",
    "platform_audit_logs": "what was done outside any tenant",
    "platform_idempotency_keys": "operators' kept answers",
    "deletion_certificates": "outlive their tenant",
    "certificate_keys": "the platform's keys, in public",
    "plan_prices": "the price list",
    "schedules": "the worker's clock",
    "revocations": "news that every process hears",
    "jobs": "a fair claim locks across tenants",
    "outbox": "a fair claim locks across tenants",
    "webhook_lanes": "a fair claim locks across tenants",
    "alembic_version": "the migrations' own",
}

# Of those, the ones that the application reaches and whose rows name a tenant: policies hold them too.
HELD_BY_POLICY: Final = {"tenant_names", "jobs", "outbox", "webhook_lanes"}

_TABLES = """
select c.relname as name, c.relrowsecurity as enabled, c.relforcerowsecurity as forced,
       c.relispartition as part,
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id') as has_tenant
  from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') order by 1
"""
# On a cluster the coordinator keeps a part of the directory, which `mis distribute` holds against its table.
# Elsewhere the setting means nothing.
_WITHOUT_PARTS: Final = "set citus.override_table_visibility = on"
_POLICIES = """
select polname as name, polcmd::text as command, polpermissive as permissive,
       pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as checked,
       array(select rolname::text from pg_roles where oid = any(polroles)) as roles
  from pg_policy where polrelid = $1::text::regclass
"""
_KEYS = """
select i.relname as name, x.indisprimary as is_primary, x.indisunique as is_unique,
       array(select a.attname::text from unnest(x.indkey) with ordinality as k(num, at)
               join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.num order by k.at) as columns
  from pg_index x join pg_class i on i.oid = x.indexrelid where x.indrelid = $1::text::regclass
"""
_FOREIGN_KEYS = """
select conname as name, confrelid::regclass::text as target,
       array(select a.attname::text from unnest(conkey) k join pg_attribute a
              on a.attrelid = conrelid and a.attnum = k) as columns
  from pg_constraint where contype = 'f' and conparentid = 0 and conrelid = $1::text::regclass
"""
_DEFAULTS = """
select a.attname as column, pg_get_expr(d.adbin, d.adrelid) as default, a.attidentity <> '' as identity
  from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where a.attrelid = $1::text::regclass and a.attnum > 0
"""
_TRIGGERS = "select tgname from pg_trigger where tgrelid = $1::text::regclass and not tgisinternal"

ROLES: Final = ("mis_app", "mis_auth", "mis_platform")

# Relations a role may touch although no policy narrows them: what each holds belongs to no tenant.
UNNARROWED: Final = {
    "mis_app": {"public_signing_keys", "certificate_keys", "plan_prices"},
    "mis_auth": {
        "public_signing_keys",
        "certificate_keys",
        "plan_prices",
        "operators",
        "operator_sessions",
        "operator_refresh_tokens",
        "signing_keys",
        "login_throttles",
        "platform_audit_logs",
        "platform_idempotency_keys",
    },
    "mis_platform": {
        "public_signing_keys",
        "certificate_keys",
        "plan_prices",
        "platform_audit_logs",
        "platform_idempotency_keys",
        "deletion_certificates",
        "schedules",
    },
}
_OF_EXTENSIONS: Final = "select objid from pg_depend where classid = 'pg_{}'::regclass and deptype = 'e'"
_REACHED = f"""
select c.relname as name, c.relkind::text as kind, c.relispartition as part, c.relrowsecurity as narrowed
  from pg_class c
 where c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
   and c.relnamespace::regnamespace::text not like 'pg_toast%'
   and c.oid not in ({_OF_EXTENSIONS.format("class")})
   and case when c.relkind in ('r', 'p', 'v', 'm', 'f')
            then has_table_privilege(
                     $1::text, c.oid, 'select, insert, update, delete, truncate, references, trigger')
                 or has_any_column_privilege($1::text, c.oid, 'select, insert, update, references')
            when c.relkind = 'S' then has_sequence_privilege($1::text, c.oid, 'usage, select, update')
            else false end
"""  # noqa: S608  # our own words
_FUNCTIONS: Final = f"""
select oid, proname as name, prosecdef as definer, coalesce(proconfig, '{{}}') as config from pg_proc
 where pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
   and oid not in ({_OF_EXTENSIONS.format("proc")})
   -- What `mis distribute` needs for itself, where no role of the application's may enter.
   and pronamespace <> coalesce(to_regnamespace('mis_nodes'), 0)
"""  # noqa: S608  # our own words
_RELATIONS: Final = f"""
select relname as name from pg_class where relnamespace = 'public'::regnamespace
   and relkind in ('r', 'p', 'v', 'm', 'f', 'S') and not relispartition
   and oid not in ({_OF_EXTENSIONS.format("class")})
"""  # noqa: S608  # our own words


async def relations(connection: asyncpg.Connection) -> set[str]:
    """Return what there is in the schema: tables, views and sequences."""
    await connection.execute(_WITHOUT_PARTS)
    return {row["name"] for row in await connection.fetch(_RELATIONS)}


async def tenant_table_violations(connection: asyncpg.Connection) -> list[str]:
    """Return what each table with a `tenant_id` breaks of the rules of a tenant table."""
    wrong: list[str] = []
    await connection.execute(_WITHOUT_PARTS)
    for table in await connection.fetch(_TABLES):
        name = table["name"]
        if table["part"] or (name in OUTSIDE and name not in HELD_BY_POLICY):
            continue
        if not table["has_tenant"]:
            wrong.append(f"{name} has no tenant_id and is not on the closed list")
            continue
        if not (table["enabled"] and table["forced"]):
            wrong.append(f"{name} lacks ENABLE or FORCE")
        wrong += _policies(name, await connection.fetch(_POLICIES, name))
        if name not in OUTSIDE:
            wrong += _keys(name, await connection.fetch(_KEYS, name))
            wrong += _foreign_keys(name, await connection.fetch(_FOREIGN_KEYS, name))
            wrong += _defaults(name, await connection.fetch(_DEFAULTS, name))
            wrong += [
                f"{name} has the trigger {row['tgname']}" for row in await connection.fetch(_TRIGGERS, name)
            ]
    return wrong


def _policies(table: str, policies: list[Any]) -> list[str]:
    wrong = []
    held = [policy for policy in policies if "mis_app" in policy["roles"] or not policy["roles"]]
    if not any(policy["command"] == "*" for policy in held):
        wrong.append(f"{table} has no policy for mis_app")
    for policy in held:
        if not policy["permissive"]:
            continue
        if policy["using"] != BOUND or policy["checked"] != BOUND:
            wrong.append(
                f"{table}.{policy['name']} does not hold mis_app to its tenant in USING and WITH CHECK"
            )
    if not any(policy["roles"] == ["mis_owner"] and policy["using"] == "true" for policy in policies):
        wrong.append(f"{table} hides its rows from the owner")
    return wrong


def _keys(table: str, indexes: list[Any]) -> list[str]:
    wrong = []
    if not any(index["is_primary"] and index["columns"][0] == "tenant_id" for index in indexes):
        wrong.append(f"{table} has no primary key that leads with tenant_id")
    for index in indexes:
        if index["is_unique"] and "tenant_id" not in index["columns"]:
            wrong.append(f"{table}.{index['name']} is unique over all tenants")
        if index["columns"][:1] != ["tenant_id"]:
            wrong.append(f"{table}.{index['name']} does not lead with tenant_id")
    return wrong


def _foreign_keys(table: str, keys: list[Any]) -> list[str]:
    return [
        f"{table}.{key['name']} points to {key['target']} without tenant_id"
        for key in keys
        if "tenant_id" not in key["columns"]
    ]


def _defaults(table: str, columns: list[Any]) -> list[str]:
    return [
        f"{table}.{column['column']} is made by the database"
        for column in columns
        if column["identity"] or any(word in (column["default"] or "") for word in ("nextval", "uuid"))
    ]


# The pairs say which column meets which: on Citus a key between two spread tables must pair their tenants.
_TIES: Final = """
select conrelid::regclass::text as table, confrelid::regclass::text as target, conname::text as name,
       confdeltype::text as on_delete, confupdtype::text as on_update,
       array(select a.attname || '=' || b.attname
               from unnest(conkey, confkey) as pair (own, theirs)
               join pg_attribute a on a.attrelid = conrelid and a.attnum = own
               join pg_attribute b on b.attrelid = confrelid and b.attnum = theirs) as pairs
  from pg_constraint where contype = 'f' and conparentid = 0
"""
_SPREAD_BY: Final = """
select c.relname::text as name,
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'
                and a.attnotnull and a.atttypid = 'uuid'::regtype) as is_fit,
       exists (select from pg_constraint x where x.conrelid = c.oid and x.contype = 'x') as excludes,
       exists (select from pg_rewrite r where r.ev_class = c.oid) as has_rules
  from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
   and c.relname = any($1)
"""


async def spreading_violations(connection: asyncpg.Connection, spread: frozenset[str]) -> list[str]:
    """Return what keeps the tables `spread` from being spread over a Citus cluster by their tenant."""
    wrong = [
        f"{row['name']} cannot be spread by tenant_id"
        for row in await connection.fetch(_SPREAD_BY, sorted(spread))
        if not row["is_fit"] or row["excludes"] or row["has_rules"]
    ]
    for row in await connection.fetch(_TIES):
        tie = f"{row['table']}.{row['name']}"
        if row["table"] not in spread:
            if row["target"] in spread:
                wrong.append(f"{tie} ties a table of the coordinator's to one on the nodes")
            continue
        if row["target"] == "tenants":
            meets = "tenant_id=id" in row["pairs"]
        else:
            meets = row["target"] in spread and "tenant_id=tenant_id" in row["pairs"]
        if not meets:
            wrong.append(f"{tie} leaves the tenant's node")
        if {row["on_delete"], row["on_update"]} & {"n", "d"}:
            wrong.append(f"{tie} sets columns, which Citus refuses beside the tenant's")
    return wrong


async def policy_violations(connection: asyncpg.Connection) -> list[str]:
    """Return the policies that Citus would refuse or that hold nobody by name."""
    rows = await connection.fetch(
        "select polrelid::regclass::text as table, polname as name, polroles = '{0}' as for_all, "
        "concat(pg_get_expr(polqual, polrelid), ' ', pg_get_expr(polwithcheck, polrelid)) as text "
        "from pg_policy"
    )
    wrong = [
        f"{row['table']}.{row['name']} has a sub-select" for row in rows if "SELECT" in row["text"].upper()
    ]
    return wrong + [f"{row['table']}.{row['name']} is for PUBLIC" for row in rows if row["for_all"]]


async def reach_violations(connection: asyncpg.Connection) -> list[str]:
    """Return the relations that an application role reaches past the policies."""
    wrong = []
    await connection.execute(_WITHOUT_PARTS)
    for role in ROLES:
        for row in await connection.fetch(_REACHED, role):
            if row["kind"] not in ("r", "p"):
                wrong.append(
                    f"{role} reaches {row['name']}, which no policy can narrow (relkind {row['kind']})"
                )
            elif row["part"]:
                wrong.append(f"{role} reaches the partition {row['name']} by its own name")
            elif not row["narrowed"] and row["name"] not in UNNARROWED[role]:
                wrong.append(f"{role} reaches {row['name']}, which has no row-level security")
    return wrong


async def function_violations(connection: asyncpg.Connection) -> list[str]:
    """Return what is wrong with the functions outside Postgres' own schemas."""
    wrong = []
    for row in await connection.fetch(_FUNCTIONS):
        if row["name"] != "ensure_audit_partitions":
            wrong.append(f"{row['name']} is not on the list of functions")
        if row["definer"] and "search_path=pg_catalog, pg_temp" not in row["config"]:
            wrong.append(f"{row['name']} runs as its owner with a search_path of the caller's")
        for role, may in (("mis_app", False), ("mis_auth", False), ("mis_platform", True)):
            held = await connection.fetchval(
                "select has_function_privilege($1, $2::oid, 'execute')", role, row["oid"]
            )
            if held is not may:
                wrong.append(f"{role} may{'' if held else ' not'} execute {row['name']}")
    return wrong
