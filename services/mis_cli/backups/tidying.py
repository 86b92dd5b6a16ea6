"""What follows a restoration that has committed: services hear of it, and what nothing names any more goes.

The database is right by then. So what is away now is told, not raised: the same command does the rest later.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from mis_cli.backups import objects
from mis_tenancy.redis import Redis, RedisError
from mis_tenancy.revocations import CHANNEL
from mis_tenancy.storage import Storage, StorageUnavailable


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was removed, and in sentences what could not be."""

    objects_removed: int
    redis_keys_removed: int
    left: Sequence[str]


async def tidy(
    redis_url: str | None, pattern: str, storage: Storage, directory: Path, tenants: Sequence[UUID]
) -> Tidied:
    """Wake the services, forget Redis' keys of `pattern` and remove objects that are not in the backup."""
    left = []
    removed = forgotten = 0
    if redis_url is not None:
        try:
            forgotten = await _forget(redis_url, pattern)
        except RedisError as error:
            left.append(f"Redis still counts as before the restoration ({error})")
    try:
        removed = await objects.remove_others(storage, directory, tenants)
    except StorageUnavailable as error:
        left.append(f"objects that no row names are still in the store ({error})")
    return Tidied(removed, forgotten, left)


async def ask_redis(redis_url: str) -> None:
    """Raise RedisUnavailable where it, or a node of it, does not answer."""
    async with _connected(redis_url) as redis:
        await redis.each("PING")


async def _forget(redis_url: str, pattern: str) -> int:
    """Remove keys: counters of another time; limits count anew from the ledger."""
    async with _connected(redis_url) as redis:
        # Who serves meanwhile reads the news now, not at the next poll.
        await redis.publish(CHANNEL, "")
        return sum([await redis.unlink(keys) async for keys in redis.scan(pattern)])


@asynccontextmanager
async def _connected(redis_url: str) -> AsyncIterator[Redis]:
    redis = Redis(redis_url, 5.0)
    await redis.start()
    try:
        yield redis
    finally:
        await redis.stop()
