"""Tables of services beside the suite, found in the catalogue because no model of ours names them.

A table is such a one if its `tenant_id` refers to the tenants. Its rows are a tenant's like any others, so a
purge empties it too, and one that cannot be looked into is not certified to be empty.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, MetaData, Row, Table, text

from mis_tenancy.session import TenantSession
from tenant_service.endings.errors import TablesOutOfReach
from tenant_service.endings.tables import own_tables

_FOUND: Final = """
select n.nspname::text as schema, c.relname::text as name,
       has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
       and has_table_privilege(c.oid, 'delete')
       and exists (select from pg_policy p, unnest(p.polroles) role
                    where p.polrelid = c.oid and p.polpermissive and p.polcmd = '*'
                      and (role = 0 or pg_has_role(role, 'usage'))) as is_in_reach
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  join pg_constraint k on k.conrelid = c.oid and k.contype = 'f'
   and k.confrelid = 'public.tenants'::regclass
  join pg_attribute a on a.attrelid = c.oid and array[a.attnum] = k.conkey and a.attname = 'tenant_id'
 where c.relkind in ('r', 'p') and not c.relispartition
   and not (n.nspname = 'public' and c.relname = any(:own))
 order by 1, 2
"""


async def adopted_tables(session: TenantSession) -> list[Table]:
    """Return those of the tables that may be emptied, children before their parents."""
    names: dict[str, list[str]] = {}
    for row in await _found(session):
        if row.is_in_reach:
            names.setdefault(row.schema, []).append(row.name)
    return await (await session.connection()).run_sync(_described, names) if names else []


async def refuse_out_of_reach(session: TenantSession) -> None:
    """Raise TablesOutOfReach where one of the tables may not be emptied, nor looked into."""
    if barred := [f"{row.schema}.{row.name}" for row in await _found(session) if not row.is_in_reach]:
        raise TablesOutOfReach(barred)


async def _found(session: TenantSession) -> Sequence[Row[Any]]:
    # Nothing narrows the catalogue.
    asked = await session.execute(text(_FOUND), {"own": own_tables()}, execution_options={"unscoped": True})
    return asked.all()


def _described(connection: Connection, names: Mapping[str, Sequence[str]]) -> list[Table]:
    metadata: Any = MetaData()
    for schema, tables in names.items():
        metadata.reflect(connection, schema=schema, only=tables)
    wanted = {(schema, table) for schema, tables in names.items() for table in tables}
    return [one for one in reversed(metadata.sorted_tables) if (one.schema, one.name) in wanted]
