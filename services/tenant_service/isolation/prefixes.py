"""Where no policy guards, the prefix does: what one tenant writes, another must not find under its own."""

from typing import Final
from uuid import UUID

from mis_tenancy.identifiers import new_id
from mis_tenancy.redis import Redis, tenant_key
from mis_tenancy.storage import ObjectKeyRefused, ObjectNotFound, Storage, TenantStorage

_KEY_LIVES_MS: Final = 10_000
_WRITTEN: Final = b"isolation"


async def redis_violations(redis: Redis, tenant_id: UUID) -> list[str]:
    """Write a key of the tenant's and look for it as a stranger; return what is wrong."""
    name, stranger = str(new_id()), new_id()
    key = tenant_key(tenant_id, "isolation", name)
    await redis.command("SET", key, _WRITTEN, "PX", _KEY_LIVES_MS)
    wrong = []
    if not key.startswith(f"{{{tenant_id}}}:"):
        wrong.append("the tenant's keys do not begin with its id")
    if await redis.command("GET", tenant_key(stranger, "isolation", name)) is not None:
        wrong.append("another tenant finds the key under its own prefix")
    if await redis.command("GETDEL", key) != _WRITTEN:
        wrong.append("the tenant does not find its own key")
    return wrong


async def storage_violations(storage: Storage, tenant_id: UUID) -> list[str]:
    """Store an object of the tenant's and look for it as a stranger; return what is wrong."""
    own, stranger = storage.of(tenant_id), storage.of(new_id())
    key = f"isolation/{new_id()}"
    await own.put(key, _WRITTEN)
    try:
        wrong = []
        if await _holds(stranger, key) or [one async for one in stranger.list()]:
            wrong.append("another tenant finds the object under its own prefix")
        if not await _holds(own, key):
            wrong.append("the tenant does not find its own object")
        escapes = (f"../{tenant_id}/{key}", f"/{own.prefix}/{key}", f"a/../../{tenant_id}/{key}", "..")
        wrong += [
            f"the key {escape!r} is not refused" for escape in escapes if not _refuses(stranger, escape)
        ]
        return wrong
    finally:
        await own.delete(key)


async def _holds(storage: TenantStorage, key: str) -> bool:
    try:
        return await storage.get(key) == _WRITTEN
    except ObjectNotFound:
        return False


def _refuses(storage: TenantStorage, key: str) -> bool:
    try:
        storage.path(key)
    except ObjectKeyRefused:
        return True
    return False
