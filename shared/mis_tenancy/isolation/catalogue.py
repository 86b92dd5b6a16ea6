"""The questions put to the database: what its catalogue says, and what a bound transaction can see.

All of them run unscoped, because the session's own narrowing would hide what the policies let through. Names
are as SQL spells them, with their schema where the role would not find them without it.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row

from mis_tenancy.isolation.expectations import (
    APPEND_ONLY,
    APPLICATION,
    OUT_OF_REACH,
    PLATFORM,
    SHARED,
    UNNARROWED,
)
from mis_tenancy.isolation.facts import Key, Policy, Role, Table
from mis_tenancy.session import TenantSession

_UNSCOPED: Final = {"unscoped": True}

_ROLES: Final = """
select r.rolname::text as name, r.rolname = current_user as is_current,
       r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolreplication as is_strong,
       exists (select from pg_class c where c.relowner = r.oid and c.relkind in ('r', 'p')) as owns_tables,
       array(select o.rolname::text from pg_roles o
              where o.oid <> r.oid and pg_has_role(r.oid, o.oid, 'member') order by 1) as member_of
  from pg_roles r
 where r.rolname = current_user or r.rolname = any(:roles)
 order by 1
"""
_TABLES: Final = """
select c.oid::bigint as oid, c.oid::regclass::text as name, c.relrowsecurity as is_enabled,
       c.relforcerowsecurity as is_forced
  from pg_class c
 where c.relnamespace in (select oid from pg_namespace where nspname = any(:schemas))
   and c.relkind in ('r', 'p') and not c.relispartition
   and c.oid::regclass::text <> all(:out_of_reach)
   and (c.oid::regclass::text = any(:shared) or exists (
        select from pg_attribute a
         where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped))
 order by 2
"""
_POLICIES: Final = """
select polrelid::bigint as oid, polname::text as name, polcmd::text as command,
       array(select case when one = 0 then 'public' else one::regrole::text end
               from unnest(polroles) one order by 1) as roles,
       pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as checked
  from pg_policy
 where polpermissive
 order by 1, 2
"""
_KEYS: Final = """
select x.indrelid::bigint as oid, i.relname::text as name,
       case when x.indisprimary then 'primary' else 'unique' end as kind,
       array(select a.attname::text from unnest(x.indkey) with ordinality k (num, at)
               join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.num order by k.at) as columns,
       null as target
  from pg_index x join pg_class i on i.oid = x.indexrelid
 where x.indisunique
union all
select conrelid::bigint, conname::text, 'foreign',
       array(select a.attname::text from unnest(conkey) with ordinality k (num, at)
               join pg_attribute a on a.attrelid = conrelid and a.attnum = k.num order by k.at),
       confrelid::regclass::text
  from pg_constraint
 where contype = 'f' and conparentid = 0
 order by 1, 2
"""
_EXCESS: Final = """
with looked_at as (
    select oid, nspname from pg_namespace where nspname = any(:schemas)
), relation as (
    select oid, oid::regclass::text as name, relkind, relispartition as is_part,
           relrowsecurity as is_narrowed,
           coalesce(array_to_string(reloptions, ',') ~ 'security_invoker=(true|on|1)', false) as is_callers
      from pg_class where relnamespace in (select oid from looked_at) and relkind in ('r', 'p', 'v', 'm', 'f')
       -- What an extension has brought along holds nothing of a tenant's.
       and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid
                                              and deptype = 'e')
), role as (select unnest(cast(:roles as text[])) as name)
select role.name || ' may ' || privilege || ' ' || relation.name as found
  from role, relation, unnest(array['truncate', 'references', 'trigger']) privilege
 where has_table_privilege(role.name, relation.oid, privilege)
union all
select role.name || ' may ' || privilege || ' ' || relation.name
  from role, relation, unnest(array['update', 'delete']) privilege
 where relation.name = any(:append_only)
   and (has_table_privilege(role.name, relation.oid, privilege)
        or privilege = 'update' and has_any_column_privilege(role.name, relation.oid, privilege))
union all
select role.name || ' reaches ' || relation.name || ', which no policy narrows'
  from role, relation
 where (has_table_privilege(role.name, relation.oid, 'select, insert, update, delete')
        or has_any_column_privilege(role.name, relation.oid, 'select, insert, update'))
   and (relation.relkind in ('m', 'f') or relation.is_part
        -- A view reads with the rights of its owner, unless it is told otherwise.
        or relation.relkind = 'v' and not relation.is_callers
        or relation.relkind in ('r', 'p') and not relation.is_narrowed
           and relation.name <> all(:unnarrowed) and role.name = :app)
union all
select role.name || ' may make objects in this database'
  from role
 where exists (select from looked_at where has_schema_privilege(role.name, nspname, 'create'))
    or has_database_privilege(role.name, current_database(), 'create, temporary')
union all
select role.name || ' may call ' || p.proname || ', which runs as its owner'
  from role, pg_proc p
 where p.prosecdef and p.pronamespace in (select oid from looked_at)
   -- What a trigger runs, nobody calls.
   and p.prorettype <> 'trigger'::regtype
   and has_function_privilege(role.name, p.oid, 'execute')
 order by 1
"""
_READABLE: Final = """
select c.oid::regclass::text as name
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
 where c.relnamespace in (select oid from pg_namespace where nspname = any(:schemas))
   and c.relkind in ('r', 'p') and not c.relispartition
   and c.oid::regclass::text <> all(:shared)
   and has_column_privilege(c.oid, a.attnum, 'select') and has_schema_privilege(c.relnamespace, 'usage')
 order by 1
"""
# A policy that holds for this role and does not name the setting lets it see rows of whomever.
OPEN_TABLES: Final = """
select c.oid::regclass::text as name
  from unnest($1::text[]) asked join pg_class c on c.oid = to_regclass(asked)
 where not (c.relrowsecurity and c.relforcerowsecurity)
    or exists (select from pg_policy p, unnest(p.polroles) role
                where p.polrelid = c.oid and p.polpermissive and (role = 0 or pg_has_role(role, 'usage'))
                  and strpos(coalesce(pg_get_expr(p.polqual, p.polrelid),
                                      pg_get_expr(p.polwithcheck, p.polrelid)), 'app.tenant_id') = 0)
 order by 1
"""
_PLACES: Final = """
select asked, n.nspname::text as schema, c.oid::regclass::text as name
  from unnest(cast(:names as text[])) asked
  join pg_class c on c.oid = to_regclass(asked) join pg_namespace n on n.oid = c.relnamespace
"""


async def roles(session: TenantSession) -> list[Role]:
    """Return the roles that services work as, and the one this service is connected as."""
    return [
        Role(row.name, row.is_current, row.is_strong, row.owns_tables, tuple(row.member_of))
        for row in await _rows(session, _ROLES, roles=[*APPLICATION, PLATFORM])
    ]


async def tables(session: TenantSession, schemas: Sequence[str]) -> list[Table]:
    """Return every table of the schemas that names tenants, from the catalogue and not from our models."""
    policies: defaultdict[int, list[Policy]] = defaultdict(list)
    for row in await _rows(session, _POLICIES):
        policy = Policy(row.name, row.command, tuple(row.roles), row.using, row.checked)
        policies[row.oid].append(policy)
    keys: defaultdict[int, list[Key]] = defaultdict(list)
    for row in await _rows(session, _KEYS):
        keys[row.oid].append(Key(row.name, row.kind, tuple(row.columns), row.target))
    named = {"shared": list(SHARED), "out_of_reach": list(OUT_OF_REACH)}
    found = await _rows(session, _TABLES, schemas=list(schemas), **named)
    return [
        Table(row.name, row.is_enabled, row.is_forced, tuple(policies[row.oid]), tuple(keys[row.oid]))
        for row in found
    ]


async def excess_privileges(
    session: TenantSession, schemas: Sequence[str], everybodys: Collection[str]
) -> list[str]:
    """Return, in words, what the application's roles may do beyond what they need.

    They may read the tables `everybodys`, although nothing narrows those.
    """
    found = await _rows(
        session,
        _EXCESS,
        roles=list(APPLICATION),
        app=APPLICATION[0],
        append_only=list(APPEND_ONLY),
        schemas=list(schemas),
        unnarrowed=[*UNNARROWED, *everybodys],
    )
    return [row.found for row in found]


async def readable_tables(session: TenantSession, schemas: Sequence[str]) -> list[str]:
    """Return the tables of tenants' rows that this role may read, quoted as SQL needs it."""
    found = await _rows(session, _READABLE, schemas=list(schemas), shared=list(SHARED))
    return [row.name for row in found]


async def places(session: TenantSession, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the schema of each of the tables that is there, and its name as all else here spells it."""
    return {row.asked: (row.schema, row.name) for row in await _rows(session, _PLACES, names=list(names))}


async def tables_showing_others(session: TenantSession, names: Sequence[str], tenant_id: UUID) -> list[str]:
    """Return those of the tables that show the transaction rows of another tenant than its own."""
    # Two ranges, because an index answers each at once where `<>` would read all the tenant's rows.
    conditions = ("tenant_id < :own", "tenant_id > :own", "tenant_id is null")
    return await _showing(session, names, conditions, own=tenant_id)


async def tables_showing_any(session: TenantSession, names: Sequence[str]) -> list[str]:
    """Return those of the tables that show the transaction any row at all."""
    return await _showing(session, names, ("true",))


async def _showing(
    session: TenantSession, names: Sequence[str], conditions: Sequence[str], **values: Any
) -> list[str]:
    # The names come from the catalogue, quoted by it.
    asked = " union all ".join(_question(name, conditions) for name in names)
    return [row.name for row in await _rows(session, asked, **values)]


def _question(name: str, conditions: Sequence[str]) -> str:
    literal = name.replace("'", "''")
    # One column, because Citus cannot fetch rows of none from its nodes.
    seen = " or ".join(
        f"exists (select 1 from {name} where {condition})"  # noqa: S608  # as above
        for condition in conditions
    )
    return f"select '{literal}' as name where {seen}"


async def _rows(session: TenantSession, sql: str, **values: Any) -> Sequence[Row[Any]]:
    return (await session.execute(text(sql), values, execution_options=_UNSCOPED)).all()
