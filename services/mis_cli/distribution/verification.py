"""Whether a distributed database isolates tenants on every node, asked of every copy of every table.

The shell of a table on the coordinator says what must hold; each placement's own catalogue must say the same.
And the application's role looks for itself: on each node without a tenant, and through the coordinator as one
tenant after another.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from mis_cli.distribution.layout import COLUMN, DIRECTORY, spread_names
from mis_tenancy.identifiers import new_id
from mis_tenancy.postgres.connection import set_local

# As many tenants as are looked at one by one: the newest.
SAMPLE: Final = 5

# Row-level security, policies, privileges and keys of a relation, as one text.
_FACE: Final = """
select concat_ws(' ', relrowsecurity, relforcerowsecurity,
    (select string_agg(concat_ws(',', polname, polcmd, polpermissive,
                array(select one::regrole::text from unnest(polroles) one order by 1),
                pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)), ';' order by polname)
       from pg_policy where polrelid = c.oid),
    (select string_agg(grantee::regrole || '=' || privilege_type, ',' order by 1)
       from aclexplode(c.relacl) where grantee <> c.relowner),
    (select string_agg(attname || ':' || grantee::regrole || '=' || privilege_type, ',' order by 1)
       from pg_attribute, aclexplode(attacl) where attrelid = c.oid),
    (select count(*) from pg_constraint where conrelid = c.oid and contype = 'f' and conparentid = 0),
    c.relowner::regrole)
  from pg_class c where oid = %s::regclass
"""
_ON_PLACEMENTS: Final = """
select nodename || ':' || nodeport as node, success, result from run_command_on_placements($1::text, $2)
"""
_PARTS: Final = """
select logicalrelid::regclass::text as name from pg_dist_partition
 where logicalrelid::regclass::text = any($1)
 union select inhrelid::regclass::text from pg_inherits where inhparent = 'audit_logs'::regclass order by 1
"""
_READABLE: Final = "select name from unnest($1::text[]) name where has_table_privilege(name, 'select')"
_NEWEST: Final = "select id from tenants order by id desc limit $1"


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer; `found` names what is wrong."""

    name: str
    found: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.found


async def checks(owner: asyncpg.Connection, app: asyncpg.Connection) -> AsyncIterator[Check]:
    """Yield each check when it is done."""
    tables = [DIRECTORY, *sorted(spread_names())]
    parts = [row["name"] for row in await owner.fetch(_PARTS, tables)]
    yield Check("placements_like_their_table", tuple([one async for one in _unlike(owner, parts)]))
    readable = [row["name"] for row in await app.fetch(_READABLE, sorted(spread_names()))]
    yield Check("nothing_on_a_node_without_tenant", tuple([one async for one in _bare(app, readable)]))
    strangers = [new_id(), *(row["id"] for row in await app.fetch(_NEWEST, SAMPLE))]
    yield Check("no_rows_of_another_tenant", tuple([one async for one in _foreign(app, strangers, readable)]))
    yield Check("own_rows_seen_whole", tuple([one async for one in _hidden(owner, app, strangers, readable)]))


async def _unlike(owner: asyncpg.Connection, tables: Iterable[str]) -> AsyncIterator[str]:
    for table in tables:
        shell = await owner.fetchval(_FACE % f"'{table}'")
        for row in await owner.fetch(_ON_PLACEMENTS, table, _FACE.replace("%s", "'%s'")):
            if not row["success"] or row["result"] != shell:
                yield f"{table} on {row['node']}"


async def _bare(app: asyncpg.Connection, tables: Iterable[str]) -> AsyncIterator[str]:
    for table in tables:
        for row in await app.fetch(_ON_PLACEMENTS, table, "select count(*) from %s"):
            if not row["success"] or row["result"] != "0":
                yield f"{table} on {row['node']}: {row['result']}"


async def _foreign(app: asyncpg.Connection, tenants: Iterable[UUID], tables: list[str]) -> AsyncIterator[str]:
    for tenant_id in tenants:
        async with app.transaction(readonly=True):
            await app.execute(set_local(tenant_id))
            for table in tables:
                others = f"select count(*) from {table} where {COLUMN} <> $1"  # noqa: S608  # our models' names
                if seen := await app.fetchval(others, tenant_id):
                    yield f"{table}: tenant {tenant_id} sees {seen}"


async def _hidden(
    owner: asyncpg.Connection, app: asyncpg.Connection, tenants: Iterable[UUID], tables: list[str]
) -> AsyncIterator[str]:
    for tenant_id in tenants:
        async with app.transaction(readonly=True):
            await app.execute(set_local(tenant_id))
            for table in tables:
                own: Any = f"select count(*) from {table} where {COLUMN} = $1"  # noqa: S608  # as above
                there = await owner.fetchval(own, tenant_id)
                if there != await app.fetchval(f"select count(*) from {table}"):  # noqa: S608  # as above
                    yield f"{table}: tenant {tenant_id} does not see its {there}"
