"""The limiter: each request of a tenant against its burst and its daily limit, in one call of one Lua script.

Exact while Redis answers, because the script decides and counts in one step and by Redis' own clock. What it
has refused is refused for as long as that must hold without asking it again (`held_refusals`). When
Redis has lost the day's count, the usage ledger supplies it before anything is admitted. When Redis gives no
answer, this process decides alone (`local_quotas`), so that the API stays up; once it answers again, the
ledger supplies what was admitted meanwhile. Nothing here raises: a limiter that fails is no reason to refuse
a paying tenant.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

import structlog

from mis_tenancy.held_refusals import HeldRefusals
from mis_tenancy.local_quotas import EPOCH_DAY, LocalQuotas
from mis_tenancy.redis import Redis, RedisError, address_key, tenant_key
from mis_tenancy.tenant import Allowance, Tenant

Ledger = Callable[[UUID, date], Awaitable[int]]

CLOCK: Final = "local t = redis.call('TIME') local now = t[1] * 1000000 + t[2]\n"
DECISION: Final = (files("mis_tenancy") / "quotas.lua").read_text(encoding="utf-8")

# Outlives the next UTC day, so that a tenant who calls once a day is not seeded each time.
_TENANT_LIFETIME: Final = 2 * 86_400
# After one second without a request a burst window is whole again: a longer life would only cost memory.
_ADDRESS_LIFETIME: Final = 2
_LEDGER_TIMEOUT: Final = 3.0
_UNSEEDED, _ADMITTED, _REFUSED_BY_BURST, _REFUSED_BY_DAILY = range(4)
_NO_SEED: Final = (0, -1, 0)
_REFUSED_BY: Final = {_REFUSED_BY_BURST: "burst", _REFUSED_BY_DAILY: "daily"}

_log = structlog.get_logger(__name__)


class _NoDecision(Exception):
    """There is no Redis, or it waits for a seed that the ledger did not give."""


_UNDECIDED: Final = (RedisError, _NoDecision)


class Limiter:
    """Admits or refuses requests, over all processes together or, without Redis, in this one alone.

    `ledger(tenant_id, utc_day)` tells how many requests of that day have been counted. Without Redis a
    process admits the `expected_processes`-th part of each limit, rounded up. `clock` (seconds since 1970) is
    read only for local decisions.
    """

    def __init__(
        self,
        redis: Redis | None,
        ledger: Ledger,
        expected_processes: int,
        clock: Callable[[], float] = time.time,
    ):
        self.local_decisions = 0
        self._redis = redis
        self._script = None if redis is None else redis.script(CLOCK + DECISION)
        self._ledger = ledger
        self._local = LocalQuotas(expected_processes, clock)
        self._held = HeldRefusals()
        self._seeds: dict[tuple[UUID, int], asyncio.Task[int | None]] = {}

    async def admit(self, tenant: Tenant, *, daily_exempt: bool) -> Allowance:
        """Count a request of a tenant, or refuse it and count nothing.

        `daily_exempt` requests pass a spent day, within the burst limit, and are counted.
        """
        burst, daily = tenant.burst_limit, tenant.daily_limit
        # A spent day refuses some requests and not others, so what one was told says nothing to the other.
        key, terms = (tenant.id, daily_exempt), (burst, daily, self._generation(_quota_key(tenant.id)))
        if (held := self._held.again(key, terms)) is not None:
            return held
        asked_at = self._held.clock()
        try:
            reply = await self._decide(tenant.id, burst, daily, daily_exempt)
        except _UNDECIDED:
            self.local_decisions += 1
            return self._local.admit(tenant.id, burst, daily, daily_exempt)
        self._local.learn(tenant.id, reply[1], reply[5])
        allowance = _allowance(reply, burst, daily)
        self._held.note(key, terms, asked_at, allowance)
        return allowance

    async def admit_address(self, network: str, per_second: int) -> Allowance:
        """Count a request of an anonymous client's network, or refuse it and count nothing."""
        address = address_key(network)
        terms = per_second, self._generation(address)
        if (held := self._held.again(network, terms)) is not None:
            return held
        asked_at = self._held.clock()
        try:
            reply = await self._run(address, per_second, -1, 0, _ADDRESS_LIFETIME, 0, -1)
        except _UNDECIDED:
            self.local_decisions += 1
            return self._local.admit_address(network, per_second)
        allowance = _allowance(reply, per_second, None)
        self._held.note(network, terms, asked_at, allowance)
        return allowance

    async def _decide(self, tenant_id: UUID, burst: int, daily: int | None, exempt: bool) -> list[int]:
        day, seed, used = await self._unsettled(tenant_id, daily)
        # A second seed is needed where the day or the server changed while the ledger was asked.
        for _ in range(3):
            reply = await self._run(
                _quota_key(tenant_id),
                burst,
                -1 if daily is None else daily,
                int(exempt),
                _TENANT_LIFETIME,
                day,
                seed,
            )
            if reply[0] != _UNSEEDED:
                if used:
                    self._local.settle(tenant_id, day, used)
                return reply
            day = reply[1]
            seed = await self._seed(tenant_id, day)
        raise _NoDecision

    async def _unsettled(self, tenant_id: UUID, daily: int | None) -> tuple[int, int, int]:
        """Return the day, the seed and how many requests it settles, where this process has decided alone.

        Redis kept its count then and knows nothing of them. Without the ledger its count goes on as it is.
        """
        owed = self._local.unsettled(tenant_id)
        if owed is None or daily is None or not self._generation(_quota_key(tenant_id)):
            return _NO_SEED
        day, used = owed
        counted = await self._counted(tenant_id, day)
        return _NO_SEED if counted is None else (day, counted, used)

    async def _run(self, key: str, *arguments: int) -> list[int]:
        if self._script is None:
            raise _NoDecision
        reply: list[int] = await self._script.run(key, *arguments)
        return reply

    def _generation(self, key: str) -> int:
        return 0 if self._redis is None else self._redis.generation(key)

    async def _seed(self, tenant_id: UUID, day: int) -> int:
        """Return the day's count so far; raise _NoDecision where the ledger does not tell."""
        counted = await self._counted(tenant_id, day)
        if counted is None:
            raise _NoDecision
        return counted

    async def _counted(self, tenant_id: UUID, day: int) -> int | None:
        """Return the day's count, if the ledger tells; a tenant's parallel requests share one question."""
        key = (tenant_id, day)
        task = self._seeds.get(key)
        if task is None:
            task = self._seeds[key] = asyncio.create_task(self._ask_ledger(tenant_id, day))
            task.add_done_callback(lambda _: self._seeds.pop(key, None))
        # The shield keeps one caller's cancellation from the others that wait.
        counted = await asyncio.shield(task)
        # The ledger may be some seconds behind what Redis last told this very process.
        return None if counted is None else max(counted, self._local.known(tenant_id, day))

    async def _ask_ledger(self, tenant_id: UUID, day: int) -> int | None:
        try:
            async with asyncio.timeout(_LEDGER_TIMEOUT):
                return await self._ledger(tenant_id, date.fromordinal(EPOCH_DAY + day))
        except Exception as error:
            # Whatever the ledger fails by, the answer is the same: this process decides alone.
            _log.warning("quota_ledger_failed", tenant=str(tenant_id), reason=repr(error))
            return None


@lru_cache(maxsize=65_536)
def _quota_key(tenant_id: UUID) -> str:
    return tenant_key(tenant_id, "quota")


def _allowance(reply: list[Any], burst: int, daily: int | None) -> Allowance:
    verdict, _, burst_left, burst_reset, wait, count, day_left = reply
    return Allowance(
        admitted=verdict == _ADMITTED,
        burst_limit=burst,
        burst_remaining=burst_left,
        burst_reset=burst_reset / 1_000_000,
        daily_limit=daily,
        daily_remaining=None if daily is None else max(0, daily - count),
        daily_reset=0 if daily is None else -(-day_left // 1_000_000),
        retry_after=wait / 1_000_000,
        refused_by=_REFUSED_BY.get(verdict),
    )
