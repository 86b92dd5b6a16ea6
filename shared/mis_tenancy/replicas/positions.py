"""How far each tenant has written, for all processes together: what a replica must show before it is read.

A position is told to Redis after its commit and before the answer leaves. Where Redis does not know one (its
key has gone, or another run of the server wrote it), nobody may conclude that there is none.
"""

import asyncio
from collections import OrderedDict
from importlib.resources import files
from typing import Final
from uuid import UUID

import structlog

from mis_tenancy.redis import Redis, RedisError, tenant_key

_SCRIPT: Final = (files("mis_tenancy.replicas") / "positions.lua").read_text(encoding="utf-8")
_LIFETIME: Final = 86_400
_MOST_KNOWN: Final = 10_000
_AGAIN_AFTER: Final = 0.05

log = structlog.get_logger(__name__)


class Positions:
    """The last positions of tenants, in Redis under their own prefixes, beside them this process's own."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = redis.script(_SCRIPT)
        self._known: OrderedDict[UUID, int] = OrderedDict()
        self._owed: dict[UUID, asyncio.Task[None]] = {}

    async def note(self, tenant_id: UUID, position: int) -> None:
        """Remember that the tenant has written up to `position`; what Redis does not take, it gets later."""
        self._known[tenant_id] = max(position, self._known.pop(tenant_id, 0))
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        try:
            await self._tell(tenant_id)
        except RedisError as error:
            log.warning("positions.untold", tenant=str(tenant_id), reason=str(error))
            if tenant_id not in self._owed:
                self._owed[tenant_id] = asyncio.create_task(self._tell_at_last(tenant_id))

    async def of(self, tenant_id: UUID) -> int | None:
        """Return up to where the tenant has written at most; None where that is not known."""
        try:
            stored = await self._redis.command("GET", _key(tenant_id))
        except RedisError:
            return None
        if stored is None or stored[:8] != f"{self._redis.generation(_key(tenant_id)):08x}".encode():
            return None
        return max(int(stored[8:], 16), self._known.get(tenant_id, 0))

    async def stop(self) -> None:
        """Give up what Redis has not taken; it is away, and so nobody reads from a replica."""
        for task in self._owed.values():
            task.cancel()
        await asyncio.gather(*self._owed.values(), return_exceptions=True)

    async def _tell(self, tenant_id: UUID) -> None:
        await self._script.run(_key(tenant_id), f"{self._known[tenant_id]:016x}", _LIFETIME)

    async def _tell_at_last(self, tenant_id: UUID) -> None:
        try:
            while tenant_id in self._known:
                await asyncio.sleep(_AGAIN_AFTER)
                try:
                    await self._tell(tenant_id)
                except RedisError:
                    continue
                return
        finally:
            del self._owed[tenant_id]


def _key(tenant_id: UUID) -> str:
    return tenant_key(tenant_id, "written")
