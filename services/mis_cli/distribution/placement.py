"""Where one tenant's rows lie on the cluster, and how they get a place of their own or another node.

Rows of all tables move together: they are co-located, so what one table's part does, all do. Both ways run
as a superuser, because Citus copies parts by COPY, which row-level security refuses to anybody it binds.
Writes to a part wait while it is copied: the way that lets them go on replicates as the tables' owner, whom
FORCE binds, and would never end.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg

from mis_cli.distribution.cluster import Node
from mis_tenancy.settings import SettingsError

# Any table of tenants' rows stands for all.
_ANCHOR: Final = "users"
_TENANT: Final = "select id, slug from tenants where (id::text = $1 or slug = $1) and status <> 'purged'"
_PLACE: Final = """
select s.shardid as shard, s.shardminvalue = s.shardmaxvalue as is_alone,
       p.nodename as host, p.nodeport as port
  from pg_dist_shard s join pg_dist_shard_placement p on p.shardid = s.shardid
 where s.shardid = get_shard_id_for_distribution_column($1::text, $2::uuid)
"""
_NEIGHBOURS: Final = """
select count(*) from tenants
 where id <> $2 and get_shard_id_for_distribution_column($1::text, id) = $3
"""
_ISOLATE: Final = """
select isolate_tenant_to_new_shard(
    $1::text, $2::uuid, 'CASCADE', shard_transfer_mode => 'block_writes')
"""
_MOVE: Final = """
select citus_move_shard_placement($1, $2, $3, $4, $5, 'block_writes')
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tenant's rows lie; `neighbours` is how many tenants share the part with it."""

    tenant_id: UUID
    slug: str
    shard: int
    node: Node
    is_alone: bool
    neighbours: int


async def place_of(admin: asyncpg.Connection, tenant: str) -> Place:
    """Return where the rows of a tenant, named by id or slug, lie; raise SettingsError for an unknown one."""
    found = await admin.fetchrow(_TENANT, tenant.lower())
    if found is None:
        raise SettingsError(f"There is no tenant {tenant!r}: name its id or its slug.")
    row = await admin.fetchrow(_PLACE, _ANCHOR, found["id"])
    if row is None:
        raise SettingsError("The database is not distributed: run `mis distribute` first.")
    neighbours = await admin.fetchval(_NEIGHBOURS, _ANCHOR, found["id"], row["shard"])
    node = Node(row["host"], row["port"])
    return Place(found["id"], found["slug"], row["shard"], node, row["is_alone"], neighbours)


async def isolate(admin: asyncpg.Connection, place: Place) -> None:
    """Give the tenant's rows a part of their own, on the node where they are; nothing where they have one."""
    if not place.is_alone:
        await admin.execute(_ISOLATE, _ANCHOR, place.tenant_id)


async def move(admin: asyncpg.Connection, place: Place, to: Node) -> None:
    """Move the part with the tenant's rows to a node; nothing where it is there."""
    if place.node != to:
        source = place.node
        await admin.execute(_MOVE, place.shard, source.host, source.port, to.host, to.port)
