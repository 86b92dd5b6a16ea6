"""What a tenant has outside Postgres: its keys in Redis and its objects, found by their prefix alone."""

from dataclasses import dataclass
from uuid import UUID

from mis_tenancy.redis import Redis, tenant_key
from mis_tenancy.storage import Storage


@dataclass(frozen=True, slots=True)
class Found:
    """How many Redis keys and objects of a tenant there are."""

    redis_keys: int
    objects: int


class Traces:
    """Counts and removes; a Redis or a store that does not answer raises, so that nothing counts as gone."""

    def __init__(self, redis: Redis | None, storage: Storage) -> None:
        self._redis = redis
        self._storage = storage

    async def count(self, tenant_id: UUID) -> Found:
        """Return what is there now."""
        keys: set[bytes] = set()
        if self._redis is not None:
            # A scan may show a key twice.
            keys.update([key async for some in self._redis.scan(_all_of(tenant_id)) for key in some])
        objects = 0
        async for _ in self._storage.of(tenant_id).list():
            objects += 1
        return Found(len(keys), objects)

    async def remove(self, tenant_id: UUID) -> None:
        """Remove all that is there; what is gone already is no error."""
        if self._redis is not None:
            async for some in self._redis.scan(_all_of(tenant_id)):
                await self._redis.unlink(some)
        await self._storage.of(tenant_id).empty()


def _all_of(tenant_id: UUID) -> str:
    return f"{tenant_key(tenant_id)}:*"
