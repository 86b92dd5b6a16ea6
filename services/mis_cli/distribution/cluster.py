"""What a Citus cluster says of itself: its nodes, and which table is where."""

from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from mis_cli.distribution.layout import COLUMN, DIRECTORY, keys, spread_names
from mis_cli.distribution.plan import Facts
from mis_cli.distribution.together import IS_FOUNDED, TRIGGER
from mis_cli.migrations import head
from mis_tenancy.settings import SettingsError

ROLES: Final = ("mis_owner", "mis_app", "mis_auth", "mis_platform")
_SERVING: Final = ("mis_app", "mis_auth", "mis_platform")

_NODES: Final = """
select groupid, nodename as host, nodeport as port, shouldhaveshards as keeps_shards
  from pg_dist_node where isactive and noderole = 'primary' order by groupid
"""
_PLACED: Final = """
select logicalrelid::regclass::text as name, partmethod::text as method, colocationid as colocation,
       case when partkey is not null then column_to_column_name(logicalrelid, partkey) end as column
  from pg_dist_partition where logicalrelid::regclass::text = any($1)
"""
_KEYS: Final = """
select conrelid::regclass::text as table, conname::text as name from pg_constraint
 where contype = 'f' and conparentid = 0 and conrelid::regclass::text = any($1)
"""
# A distributed table has no rows of its own: a size says that the coordinator holds what it held before.
_LEFT_BEHIND: Final = """
select distinct p.logicalrelid::regclass::text as name from pg_dist_partition p
  left join pg_inherits i on i.inhparent = p.logicalrelid
 where p.logicalrelid::regclass::text = any($1)
   and (pg_relation_size(p.logicalrelid) > 0 or pg_relation_size(i.inhrelid) > 0)
"""
_TIED: Final = "select tgrelid::regclass::text as name from pg_trigger where tgname = $1"
_SETTINGS: Final = """
select unnest(s.setconfig) as setting from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
 where d.datname = current_database() and s.setrole = 0
"""
_ROLES_THERE: Final = """
select nodeid, success, result from run_command_on_all_nodes(
    format('select count(*) from pg_roles where rolname = any(%L)', $1::text[]::text))
"""
_AT_WORK: Final = """
select distinct usename::text as role from pg_stat_activity
 where datname = current_database() and usename = any($1) order by 1
"""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that keeps shards, by the address the others know it by."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


async def require_cluster(owner: asyncpg.Connection) -> list[Node]:
    """Return the nodes that keep tenants' rows; raise SettingsError saying what a superuser has to do."""
    if not await owner.fetchval("select exists (select from pg_extension where extname = 'citus')"):
        raise SettingsError(
            "The database has no Citus. Load it (shared_preload_libraries = 'citus'), and as a superuser "
            "`create extension citus` in this database on every node, then citus_set_coordinator_host() and "
            "citus_add_node() on the coordinator (docs/scaling.md)."
        )
    rows = await owner.fetch(_NODES)
    if not any(row["groupid"] == 0 for row in rows):
        raise SettingsError(
            "The coordinator is not among its own nodes, so it would have no copy of the directory. As a "
            "superuser: select citus_set_coordinator_host('its address')."
        )
    nodes = [Node(row["host"], row["port"]) for row in rows if row["groupid"] != 0 and row["keeps_shards"]]
    if not nodes:
        raise SettingsError("The cluster has no worker. As a superuser: select citus_add_node('host', 5432).")
    return nodes


async def require_roles(owner: asyncpg.Connection) -> None:
    """Raise SettingsError where a node lacks one of the suite's roles."""
    for row in await owner.fetch(_ROLES_THERE, list(ROLES)):
        if not row["success"] or int(row["result"]) != len(ROLES):
            raise SettingsError(
                f"Node {row['nodeid']} does not know the roles {', '.join(ROLES)}, or cannot be entered as "
                f"mis_owner ({row['result']}). Add it as a superuser after infrastructure/database/roles.sql "
                "has run on the coordinator, and let the nodes in as each of the roles."
            )


async def require_newest(owner: asyncpg.Connection) -> None:
    """Raise SettingsError where the tables are not those of this version."""
    found = await owner.fetchval("select version_num from alembic_version")
    if found != head():
        raise SettingsError(f"The database is at revision {found}: run `mis migrate` first.")


async def require_quiet(owner: asyncpg.Connection) -> None:
    """Raise SettingsError while a service or a worker is connected."""
    at_work = [row["role"] for row in await owner.fetch(_AT_WORK, list(_SERVING))]
    if at_work:
        raise SettingsError(
            f"{', '.join(at_work)} are connected. Stop the services and workers: while tables move, there "
            "are no foreign keys between them."
        )


async def read_facts(owner: asyncpg.Connection) -> Facts:
    """Return where the database stands; raise SettingsError where a table is where it does not belong."""
    names = [DIRECTORY, *spread_names()]
    placed = {row["name"]: row for row in await owner.fetch(_PLACED, names) if not _is_merely_local(row)}
    _refuse_strays(placed)
    found = await owner.fetch(_KEYS, names)
    wanted = {(key.table.name, str(key.name)) for key in keys()}
    return Facts(
        database=await owner.fetchval("select current_database()"),
        settings=frozenset(row["setting"] for row in await owner.fetch(_SETTINGS)),
        placed=frozenset(placed),
        keys=frozenset((row["table"], row["name"]) for row in found) & wanted,
        left_behind=frozenset(row["name"] for row in await owner.fetch(_LEFT_BEHIND, list(placed))),
        is_founded=await owner.fetchval(IS_FOUNDED),
        tied=frozenset(row["name"] for row in await owner.fetch(_TIED, TRIGGER)),
    )


def _is_merely_local(row: Any) -> bool:
    # Citus takes a coordinator's table into its books once it refers to a table that is on every node.
    return bool(row["method"] == "n" and row["colocation"] == 0)


def _refuse_strays(placed: dict[str, Any]) -> None:
    spread = {name: row for name, row in placed.items() if name != DIRECTORY}
    strays = sorted(name for name, row in spread.items() if row["column"] != COLUMN)
    if len({row["colocation"] for row in spread.values()}) > 1 or strays:
        raise SettingsError(
            f"Tables were distributed by hand, not together on {COLUMN} ({', '.join(strays) or 'apart'}). "
            "Take that back with undistribute_table() first."
        )
