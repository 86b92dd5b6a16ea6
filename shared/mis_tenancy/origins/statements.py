"""How the keys that new audit rows need are found or made: one statement to lock, one for each tenant.

Whoever may make a key shares a lock on its actor, so that an erasure, which takes that lock alone, leaves no
key behind. Nobody waits for an erasure: what an actor does meanwhile is kept without its origin. The lock
stands in a statement of its own because a statement sees what was committed before it began.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from mis_tenancy.origins.actor_keys import Actor, ActorKey, ActorKeys
from mis_tenancy.system_database import shared_or_not

# Which of the actors ($1 their tenants, $2 their ids) are not being erased at this moment.
LOCK: Final = """
select asked.tenant_id, asked.actor from unnest($1::uuid[], $2::uuid[]) as asked (tenant_id, actor)
 where pg_try_advisory_xact_lock_shared(hashtextextended(asked.tenant_id::text || asked.actor::text, 8219))
"""
# What an erasure waits for and keeps others from.
LOCK_ALONE: Final = (
    "select pg_advisory_xact_lock(hashtextextended(cast(:tenant_id as text) || cast(:actor as text), 8219))"
)
# The newest key of each actor of the tenant $1, or the one offered for him where he has none. A tombstone
# gets none: its row is shared, so that a purge waits for the key, or the key finds that there was a purge.
FIND_OR_MAKE: Final = shared_or_not("""
with standing as materialized (
    select status from tenants where id = $1 for key share
), offered as (
    select * from unnest($2::uuid[], $3::uuid[], $4::bytea[]) as offer (actor, id, wrapped_key)
), found as materialized (
    select distinct on (actor) actor, id, wrapped_key, master_key_id
      from audit_actor_keys where tenant_id = $1 and actor = any($2::uuid[])
     order by actor, id desc
), made as (
    insert into audit_actor_keys (tenant_id, id, actor, wrapped_key, master_key_id)
    select $1, id, actor, wrapped_key, $5 from offered
     where not exists (select from found where found.actor = offered.actor)
       and not exists (select from standing where status = 'purged')
    returning actor, id
)
select actor, id, wrapped_key, master_key_id from found
union all
select actor, id, null, null from made
""")


@dataclass(slots=True)
class Obtained:
    """Keys by actor: those that were `found` are committed, the `made` ones are not yet."""

    found: dict[Actor, ActorKey] = field(default_factory=dict)
    made: dict[Actor, ActorKey] = field(default_factory=dict)


class Search:
    """The arguments of FIND_OR_MAKE for some actors of a tenant, and what its rows mean."""

    def __init__(self, keys: ActorKeys, tenant_id: UUID, actors: Sequence[UUID]) -> None:
        self._keys = keys
        self._tenant_id = tenant_id
        self._offers = {actor: keys.fresh(tenant_id) for actor in actors}

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the statement's parameters are."""
        offers = self._offers.values()
        ids, wrapped = [offer.key.id for offer in offers], [offer.wrapped for offer in offers]
        return self._tenant_id, list(self._offers), ids, wrapped, self._keys.master_key_id

    def take(self, rows: Iterable[Any], obtained: Obtained) -> None:
        """Add the keys that the statement's `rows` tell of; an erased actor has none."""
        for actor, key_id, wrapped, master_key_id in rows:
            offer = self._offers[actor]
            if wrapped is None:
                obtained.made[self._tenant_id, actor] = offer.key
            elif (key := self._keys.opened(self._tenant_id, key_id, wrapped, master_key_id)) is not None:
                obtained.found[self._tenant_id, actor] = key


def columns_of(actors: Iterable[Actor]) -> tuple[list[UUID], list[UUID]]:
    """Return the arguments of LOCK."""
    pairs = list(actors)
    return [tenant_id for tenant_id, _ in pairs], [actor for _, actor in pairs]
