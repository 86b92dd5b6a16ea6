"""An adoption from its first look to its last: facts, concerns, plan, steps, and a look whether it holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import mis_models
from mis_cli.adoption.catalogue import read
from mis_cli.adoption.concerns import Concern, concerns
from mis_cli.adoption.facts import Database
from mis_cli.adoption.planning import Step, Wish, finishing, plan
from mis_cli.adoption.running import AdoptionFailed, AdoptionRefused, Hear, connected, take

_OURS: Final = tuple(mis_models.work.JobRow.metadata.tables)
# A definition can only be changed so often before it does not settle, which would be a defect of ours.
_ROUNDS: Final = 3

_FIND_TENANT: Final = "select id::text from public.tenants where slug = $1 and status <> 'purged'"
_FIT: Final = """
select to_regclass('public.tenants') is not null as has_suite, to_regnamespace($1) is not null as has_schema,
       array(select one from unnest($2::text[]) one
              where not exists (select from pg_roles where rolname = one)) as missing_roles
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What to adopt: the tables of a schema, all where none is named, and who must go on seeing all rows."""

    schema: str
    tables: tuple[str, ...] = ()
    keep_serving: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to do and to say."""

    database: Database
    steps: Sequence[Step]
    concerns: Sequence[Concern]


async def find_tenant(owner_url: str, slug: str) -> str | None:
    """Return the id of the tenant that present rows become, None where it is not there yet."""
    async with connected(owner_url) as connection:
        if not await connection.fetchval("select to_regclass('public.tenants') is not null"):
            raise AdoptionRefused("The suite's tables are not in this database: run `mis migrate` first.")
        found: str | None = await connection.fetchval(_FIND_TENANT, slug)
        return found


async def look(owner_url: str, order: Order, tenant_id: str) -> Look:
    """Return the plan as of now, and change nothing."""
    async with connected(owner_url) as connection:
        return await look_by(connection, order, tenant_id)


async def adopt(owner_url: str, order: Order, tenant_id: str, hear: Hear) -> Look:
    """Take every step that is missing, until none is, and return the last look."""
    async with connected(owner_url) as connection:
        for _ in range(_ROUNDS):
            now = await look_by(connection, order, tenant_id)
            if not now.steps:
                return now
            await take(connection, now.steps, hear)
    raise AdoptionFailed(f"After {_ROUNDS} rounds there is still to do: {now.steps[0].sql}")


async def finish(owner_url: str, order: Order, hear: Hear) -> Sequence[Step]:
    """Take what let the old service go on away, and return the steps."""
    async with connected(owner_url) as connection:
        steps = finishing(await read(connection, order.schema, order.tables, _OURS))
        await take(connection, steps, hear)
        return steps


async def look_by(connection: Any, order: Order, tenant_id: str) -> Look:
    """Return the plan as this connection sees it; raise AdoptionRefused where there cannot be one."""
    fit = await connection.fetchrow(_FIT, order.schema, ["mis_app", "mis_platform", *order.keep_serving])
    if not fit["has_schema"]:
        raise AdoptionRefused(f"There is no schema {order.schema!r} in this database.")
    if fit["missing_roles"]:
        raise AdoptionRefused(f"There is no role {', '.join(fit['missing_roles'])} on this server.")
    database = await read(connection, order.schema, order.tables, _OURS)
    if missing := set(order.tables) - {table.name for table in database.tables}:
        raise AdoptionRefused(f"There is no table {', '.join(sorted(missing))} of yours in {order.schema}.")
    steps = plan(database, Wish(tenant_id, order.keep_serving))
    return Look(database, steps, concerns(database))
