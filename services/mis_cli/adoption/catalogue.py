"""Reads the facts, in one transaction, so that a plan is of one moment."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from mis_cli.adoption.facts import TENANT, Database, ForeignKey, Index, Serial, Table, View, quoted

_TABLES: Final = """
select c.oid::bigint as oid, c.relname::text as name, c.relkind::text as kind,
       pg_get_userbyid(c.relowner)::text as owner, pg_has_role(c.relowner, 'member') as is_ours,
       has_table_privilege('mis_app', c.oid, 'delete') as is_granted,
       has_table_privilege('mis_platform', c.oid, 'delete') as is_purgeable,
       has_table_privilege('public', c.oid, 'select, insert, update, delete, truncate') as is_public,
       (pg_relation_size(c.oid) / current_setting('block_size')::int)::bigint as pages,
       c.relrowsecurity as is_enabled, c.relforcerowsecurity as is_forced,
       exists (select from pg_inherits where inhparent = c.oid or inhrelid = c.oid) as is_part
  from pg_class c
 where c.relnamespace = $1::regnamespace and c.relkind in ('r', 'p', 'f')
   and not (c.relname = any($2) and c.relnamespace = 'public'::regnamespace)
   and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
 order by 2
"""
_COLUMNS: Final = """
select a.attrelid::bigint as oid, a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type,
       a.attnotnull as is_present, a.atthasdef as has_default,
       pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) as sequence,
       has_sequence_privilege(
           'mis_app', pg_get_serial_sequence(a.attrelid::regclass::text, a.attname), 'usage') as is_counting
  from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where a.attrelid = any($1) and a.attnum > 0 and not a.attisdropped
 order by a.attnum
"""
_INDEXES: Final = """
select x.indrelid::bigint as oid, i.relname::text as name, x.indisprimary as is_primary,
       x.indisunique as is_unique, x.indisvalid and x.indisready as is_valid, m.amname::text as method,
       pg_get_indexdef(x.indexrelid) as definition,
       (select conname::text from pg_constraint
         where conindid = x.indexrelid and contype in ('p', 'u')) as key,
       array(select coalesce(a.attname::text, '') from unnest(x.indkey) with ordinality k (num, at)
               left join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.num and k.num > 0
              where k.at <= x.indnkeyatts order by k.at) as columns
  from pg_index x join pg_class i on i.oid = x.indexrelid join pg_am m on m.oid = i.relam
 where x.indrelid = any($1) and not x.indisexclusion
 order by 2
"""
_FOREIGN_KEYS: Final = """
select k.conrelid::bigint as oid, k.conname::text as name, k.confrelid::bigint as parent_oid,
       n.nspname::text || '.' || p.relname::text as parent, k.convalidated as is_valid,
       k.confupdtype::text as update, k.confdeltype::text as delete,
       k.condeferrable as is_deferrable, k.condeferred as is_deferred,
       array(select a.attname::text from unnest(k.conkey) with ordinality c (num, at)
               join pg_attribute a on a.attrelid = k.conrelid and a.attnum = c.num order by c.at) as columns,
       array(select a.attname::text from unnest(k.confkey) with ordinality c (num, at)
               join pg_attribute a on a.attrelid = k.confrelid and a.attnum = c.num order by c.at) as parents
  from pg_constraint k join pg_class p on p.oid = k.confrelid join pg_namespace n on n.oid = p.relnamespace
 where k.contype = 'f' and (k.conrelid = any($1) or k.confrelid = any($1))
 order by 2
"""
_NAMED: Final = """
select polrelid::bigint as oid, 'policy' as kind, polname::text as name
  from pg_policy where polrelid = any($1)
union all
select conrelid::bigint, case when convalidated then contype::text else 'unproven' end, conname::text
  from pg_constraint
 where conrelid = any($1) and contype in ('c', 'x')
union all
select tgrelid::bigint, 'trigger', tgname::text from pg_trigger where tgrelid = any($1) and not tgisinternal
 order by 3
"""
_GRANTED: Final = """
select has_schema_privilege('mis_app', $1, 'usage') and has_schema_privilege('mis_platform', $1, 'usage')
"""
_VIEWS: Final = """
select case c.relkind when 'v' then 'view' else 'materialized view' end as kind, c.relname::text as name,
       pg_get_userbyid(c.relowner)::text as owner
  from pg_class c
 where c.relnamespace = $1::regnamespace and c.relkind in ('v', 'm')
   and not coalesce(array_to_string(c.reloptions, ',') ~ 'security_invoker=(true|on)', false)
union all
select 'function', p.oid::regprocedure::text, pg_get_userbyid(p.proowner)::text
  from pg_proc p
 where p.pronamespace = $1::regnamespace and p.prosecdef and p.proname <> 'ensure_audit_partitions'
 order by 2
"""


async def read(connection: Any, schema: str, chosen: Sequence[str], ours: Sequence[str]) -> Database:
    """Return the facts of the chosen tables, of all where none is named; `ours` are the suite's own."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        found = await connection.fetch(_TABLES, schema, list(ours))
        found = [row for row in found if not chosen or row["name"] in chosen]
        oids = [row["oid"] for row in found]
        parts = [await _grouped(connection, sql, oids) for sql in (_COLUMNS, _INDEXES, _FOREIGN_KEYS, _NAMED)]
        names = {row["oid"]: row["name"] for row in found}
        with_nulls = {oid for oid in names if await _has_nulls(connection, schema, names[oid], parts[0][oid])}
        tables = [_table(schema, row, names, with_nulls, *parts) for row in found]
        granted = await connection.fetchval(_GRANTED, schema)
        around = await connection.fetch(_VIEWS, schema)
        views = [View(row["kind"], row["name"], row["owner"]) for row in around]
        role = await connection.fetchval("select current_user::text")
    return Database(role, schema, granted, tuple(_parents_first(tables)), tuple(views))


async def _has_nulls(connection: Any, schema: str, name: str, columns: Sequence[Any]) -> bool:
    tenant = next((one for one in columns if one["name"] == TENANT), None)
    if tenant is None or tenant["is_present"]:
        return False
    table = f"{quoted(schema)}.{quoted(name)}"
    return bool(await connection.fetchval(f"select exists (select from {table} where {TENANT} is null)"))  # noqa: S608  # names of the catalogue


async def _grouped(connection: Any, sql: str, oids: Sequence[int]) -> dict[int, list[Any]]:
    grouped: dict[int, list[Any]] = defaultdict(list)
    for row in await connection.fetch(sql, oids):
        grouped[row["oid"]].append(row)
        # A foreign key concerns its parent as well.
        if (parent := row.get("parent_oid")) is not None and parent != row["oid"]:
            grouped[parent].append(row)
    return grouped


def _table(
    schema: str,
    row: Any,
    names: dict[int, str],
    with_nulls: set[int],
    columns: dict[int, list[Any]],
    indexes: dict[int, list[Any]],
    foreign_keys: dict[int, list[Any]],
    named: dict[int, list[Any]],
) -> Table:
    oid = row["oid"]
    tenant: Any = next((one for one in columns[oid] if one["name"] == TENANT), None)
    kinds = {
        kind: tuple(one["name"] for one in named[oid] if one["kind"] == kind)
        for kind in ("policy", "c", "x", "trigger", "unproven")
    }
    return Table(
        schema=schema,
        name=row["name"],
        kind="i" if row["is_part"] else row["kind"],
        owner=row["owner"],
        is_ours=row["is_ours"],
        pages=row["pages"],
        columns={one["name"]: one["type"] for one in columns[oid]},
        has_tenant=tenant is not None,
        is_tenant_present=tenant is not None and tenant["is_present"],
        has_default=tenant is not None and tenant["has_default"],
        has_nulls=oid in with_nulls,
        is_granted=row["is_granted"],
        is_purgeable=row["is_purgeable"],
        is_public=row["is_public"],
        is_enabled=row["is_enabled"],
        is_forced=row["is_forced"],
        policies=kinds["policy"],
        checks=kinds["c"],
        unproven=kinds["unproven"],
        indexes=tuple(_index(one) for one in indexes[oid]),
        foreign_keys=tuple(_key(one, names) for one in foreign_keys[oid] if one["oid"] == oid),
        referenced_from=tuple(
            one["name"] for one in foreign_keys[oid] if one["parent_oid"] == oid and one["oid"] not in names
        ),
        serials=tuple(
            Serial(one["name"], one["sequence"], one["is_counting"])
            for one in columns[oid]
            if one["sequence"] is not None
        ),
        triggers=kinds["trigger"],
        exclusions=kinds["x"],
    )


def _index(row: Any) -> Index:
    return Index(
        name=row["name"],
        columns=tuple(row["columns"]),
        is_primary=row["is_primary"],
        is_unique=row["is_unique"],
        is_valid=row["is_valid"],
        method=row["method"],
        definition=row["definition"],
        constraint=row["key"],
    )


def _key(row: Any, names: dict[int, str]) -> ForeignKey:
    deferral = ""
    if row["is_deferrable"]:
        deferral = " deferrable initially deferred" if row["is_deferred"] else " deferrable"
    return ForeignKey(
        name=row["name"],
        columns=tuple(row["columns"]),
        parent=names.get(row["parent_oid"], row["parent"]),
        parent_columns=tuple(row["parents"]),
        is_parent_here=row["parent_oid"] in names,
        is_valid=row["is_valid"],
        update=row["update"],
        delete=row["delete"],
        deferral=deferral,
    )


def _parents_first(tables: Sequence[Table]) -> list[Table]:
    """Return the tables in an order in which parents come before children, as far as there is one."""
    left, ordered = list(tables), []
    while left:
        names = {table.name for table in left}
        free = [
            table
            for table in left
            if not {key.parent for key in table.foreign_keys if key.is_parent_here} & (names - {table.name})
        ] or left[:1]
        ordered += free
        left = [table for table in left if table not in free]
    return ordered
