"""What a tenant has outside Postgres: its keys in Redis and its objects, found by their prefix alone."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mis_tenancy.redis import Redis, tenant_key
from mis_tenancy.storage import Storage

_KEYS_AT_ONCE: Final = 1_000


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
        # A scan may show a key twice.
        keys = {key async for some in self._keys(tenant_id) for key in some}
        objects = 0
        async for _ in self._storage.of(tenant_id).list():
            objects += 1
        return Found(len(keys), objects)

    async def remove(self, tenant_id: UUID) -> None:
        """Remove all that is there; what is gone already is no error."""
        if self._redis is not None:
            async for some in self._keys(tenant_id):
                await self._redis.command("UNLINK", *some)
        await self._storage.of(tenant_id).empty()

    async def _keys(self, tenant_id: UUID) -> AsyncIterator[list[bytes]]:
        if self._redis is None:
            return
        cursor, pattern = b"0", f"{tenant_key(tenant_id)}:*"
        while True:
            answer = await self._redis.command("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_AT_ONCE)
            cursor, keys = answer
            if keys:
                yield keys
            if cursor == b"0":
                return
