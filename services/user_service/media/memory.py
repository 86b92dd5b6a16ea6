"""The memory of one process that large uploads share, so that many at once cannot exhaust it.

A large file goes by in parts, and each upload under way holds some of them. Who finds no room waits, unread,
so his bytes wait in the network; and is sent away after a while. No tenant takes more than half, so one that
sends very much holds up itself and nobody else (docs/decisions/0035-uploads-share-memory.md).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from mis_tenancy.errors import ProblemError

_RETRY_AFTER: Final = 5
# Seconds in which another upload may end.
PATIENCE: Final = 10.0


class UploadsBusy(ProblemError):
    """As many large uploads are under way as the process has memory for."""

    status = 503
    code = "uploads_busy"
    detail = "Too many large uploads are under way. Nothing of this one was kept. Send it again in a moment."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(_RETRY_AFTER)})


class UploadMemory:
    """`total` bytes for all uploads that one process receives at a time, half of them for one tenant."""

    def __init__(self, total: int, patience: float = PATIENCE) -> None:
        self._total = total
        self._patience = patience
        self._held: Counter[UUID] = Counter()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, tenant_id: UUID, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes for the tenant while the block runs; raise UploadsBusy where none become free."""
        # What needs more than there is for one tenant may have all of that.
        size = min(size, self._total // 2)
        try:
            async with asyncio.timeout(self._patience):
                while not self._fits(tenant_id, size):
                    await self._freed.wait()
        except TimeoutError as error:
            raise UploadsBusy from error
        self._held[tenant_id] += size
        try:
            yield
        finally:
            self._give_back(tenant_id, size)

    def _fits(self, tenant_id: UUID, size: int) -> bool:
        is_own = self._held[tenant_id] + size <= self._total // 2
        return is_own and self._held.total() + size <= self._total

    def _give_back(self, tenant_id: UUID, size: int) -> None:
        self._held[tenant_id] -= size
        # Without those who hold nothing: tenants come and go.
        self._held = +self._held
        self._freed.set()
        self._freed = asyncio.Event()
