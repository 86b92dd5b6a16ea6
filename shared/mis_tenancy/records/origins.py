"""Origins of the requests that a drain brings into Postgres, sealed under their actors' keys."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final
from uuid import UUID

from mis_tenancy.origins.actor_keys import Actor, ActorKey, ActorKeys, owner_of_origin
from mis_tenancy.origins.statements import FIND_OR_MAKE, LOCK, Obtained, Search, columns_of
from mis_tenancy.records.record import AuditRecord
from mis_tenancy.system_database import SystemDatabase

_TENANT: Final = itemgetter(0)
# Sealing so many keeps the event loop busy for a millisecond; then requests get their turn.
_SLICE: Final = 100


async def sealed_origins(database: SystemDatabase, records: Sequence[AuditRecord]) -> dict[UUID, bytes]:
    """Return the origins by record, without those of actors who were erased.

    New keys are committed before anything is sealed under them.
    """
    keys = database.actor_keys
    if keys is None:
        return {}
    told = [
        (record.id, record.origin, (record.tenant_id, owner_of_origin(record.actor, record.resource)))
        for record in records
        if record.origin
    ]
    held = await _held(database, keys, {actor for _, _, actor in told})
    sealed: dict[UUID, bytes] = {}
    for number, (record_id, origin, actor) in enumerate(told, 1):
        if (key := held.get(actor)) is not None:
            sealed[record_id] = key.seal(origin, record_id)
        if number % _SLICE == 0:
            await asyncio.sleep(0)
    return sealed


async def _held(database: SystemDatabase, keys: ActorKeys, actors: Iterable[Actor]) -> dict[Actor, ActorKey]:
    held: dict[Actor, ActorKey] = {}
    unknown: list[Actor] = []
    for actor in actors:
        if (key := keys.known(actor)) is None:
            unknown.append(actor)
        else:
            held[actor] = key
    if unknown:
        obtained = await _obtained(database, keys, sorted(unknown))
        held |= obtained.found | obtained.made
        keys.remember(held)
    return held


async def _obtained(database: SystemDatabase, keys: ActorKeys, actors: list[Actor]) -> Obtained:
    obtained = Obtained()
    async with database.system_transaction() as connection:
        free = await connection.fetch(LOCK, *columns_of(actors))
        for tenant_id, group in groupby(sorted((row[0], row[1]) for row in free), _TENANT):
            search = Search(keys, tenant_id, [actor for _, actor in group])
            await connection.bind(tenant_id)
            search.take(await connection.fetch(FIND_OR_MAKE[database.on_nodes], *search.arguments), obtained)
    return obtained
