"""The worker's pass over the newest audit rows: one seal for each tenant that has some.

A pass is one transaction, so it happens whole or not at all, and it takes the same few statements however
many tenants there are.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import structlog

from mis_tenancy.database import Database
from mis_tenancy.seals import NO_LINK, SEALED_COLUMNS, SealHead, SealKeys, link_of, marks_of, row_digest
from tenant_service.audit_seals import repository
from tenant_service.audit_seals.repository import NewSeal

_log = structlog.get_logger(__name__)

PACE_SECONDS: Final = 3.0
# A pass holds its rows in memory.
_ROWS_AT_ONCE: Final = 5_000
_ROWS_A_TURN: Final = 200
_TENANT: Final = itemgetter("tenant_id")
_TEXTS: Final = slice(1, 1 + len(SEALED_COLUMNS))


class Sealing:
    """Seals what all tenants have written; `platform` is the platform role's database."""

    def __init__(self, platform: Database, keys: SealKeys, *, rows_at_once: int = _ROWS_AT_ONCE) -> None:
        self._platform = platform
        self._keys = keys
        self._rows_at_once = rows_at_once

    async def run(self) -> None:
        """Seal every few seconds until cancelled; several workers may, and one of them does."""
        while True:
            try:
                await self.seal()
            except Exception as error:
                _log.warning("audit.sealing_failed", error=repr(error))
            await asyncio.sleep(PACE_SECONDS)

    async def seal(self) -> int:
        """Seal all that is committed by now; return how many seals that took."""
        total = 0
        while True:
            made, more = await self._pass()
            total += made
            if not more:
                return total

    async def _pass(self) -> tuple[int, bool]:
        """Seal one stretch of transactions; return how many seals that took, and whether more is left."""
        async with self._platform.system_transaction() as system:
            mark = await repository.begin(system)
            if mark is None:
                return 0, False
            horizon = await repository.horizon(system)
            if horizon < mark:
                _log.error("audit.transactions_restarted", sealed_up_to=mark, oldest_running=horizon)
                return 0, False
            if not await system.is_settled():
                # A row below the horizon might show only after its place in the chain had gone by.
                return 0, False
            end = await repository.cut(system, mark, horizon, self._rows_at_once)
            seals: list[NewSeal] = []
            if rows := await repository.newest(system, mark, end):
                last = await repository.last_seals(system, mark, end)
                now = datetime.now(UTC)
                seals += await self._sealed(rows, last, now)
                await repository.add(system, seals, end=end, sealed_at=now, key_id=self._keys.current_id)
            # Past a stretch without rows too: it ends where a transaction has more rows than a pass may hold.
            if rows or end < horizon:
                await repository.advance(system, end)
            return len(seals), end < horizon

    async def _sealed(
        self, rows: Sequence[Any], last: Mapping[UUID, tuple[int, bytes]], now: datetime
    ) -> list[NewSeal]:
        seals = []
        for tenant_id, group in groupby(rows, _TENANT):
            covered = list(group)
            digests = await digests_of([row[_TEXTS] for row in covered])
            number, before = last.get(tenant_id, (0, NO_LINK))
            ids = covered[0]["row_id"], covered[-1]["row_id"]
            head = SealHead(tenant_id, number + 1, len(covered), *ids, now)
            link = link_of(before, head, digests)
            signature = self._keys.sign(head, link)
            seals.append(NewSeal(tenant_id, head.seq, *ids, head.count, marks_of(digests), link, signature))
        return seals


async def digests_of(rows: Iterable[Sequence[str | None]]) -> list[bytes]:
    """Return the rows' digests; between slices of them the process's other work gets its turn."""
    digests = []
    for number, row in enumerate(rows, 1):
        digests.append(row_digest(row))
        if number % _ROWS_A_TURN == 0:
            await asyncio.sleep(0)
    return digests
