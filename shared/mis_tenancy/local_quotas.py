"""The limiter of one process alone, for as long as Redis gives no answer.

Each process takes its fair part, ceil(limit / processes), of both limits. What Redis last said of a tenant's
day shrinks that part: of what was left then, again the fair part. The day's local count survives a return of
Redis, so that a Redis which comes and goes does not renew it; what Redis has not heard of is unsettled. The
tables keep the most recently seen tenants and addresses; one that falls out starts anew.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import date
from typing import Final, Generic, TypeVar
from uuid import UUID

from mis_tenancy.tenant import Allowance

EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
TABLE_SIZE: Final = 50_000

_REQUEST: Final = 1_000_000
_DAY: Final = 86_400 * 1_000_000
K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Usage:
    """What one tenant or address used here: burst as in quotas.lua, `used` of `day`, and Redis' last word.

    Redis knows of `settled` of the used ones.
    """

    last: int = 0
    debt: int = 0
    day: int = 0
    used: int = 0
    settled: int = 0
    told_day: int = 0
    told: int = 0


class _Table(Generic[K]):
    """A bounded table that forgets the least recently used."""

    def __init__(self, size: int):
        self._size = size
        self._entries: OrderedDict[K, _Usage] = OrderedDict()

    def of(self, key: K) -> _Usage:
        usage = self._entries.get(key)
        if usage is None:
            usage = self._entries[key] = _Usage()
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)
        else:
            self._entries.move_to_end(key)
        return usage

    def __len__(self) -> int:
        return len(self._entries)


class LocalQuotas:
    """Decides from this process's memory; `clock` is in seconds since 1970."""

    def __init__(self, processes: int, clock: Callable[[], float], size: int = TABLE_SIZE):
        self._processes = processes
        self._clock = clock
        self._tenants: _Table[UUID] = _Table(size)
        self._addresses: _Table[str] = _Table(size)
        self._unsettled: set[UUID] = set()

    def __len__(self) -> int:
        """Return how many tenants and addresses are remembered."""
        return len(self._tenants) + len(self._addresses)

    def unsettled(self, tenant_id: UUID) -> tuple[int, int] | None:
        """Return the day of requests that Redis has not heard of and how many were used then, if any."""
        if tenant_id not in self._unsettled:
            return None
        usage = self._tenants.of(tenant_id)
        return (usage.day, usage.used) if usage.used > usage.settled else None

    def settle(self, tenant_id: UUID, day: int, used: int) -> None:
        """Note that Redis has heard of the `used` requests of `day`."""
        usage = self._tenants.of(tenant_id)
        if usage.day == day:
            usage.settled = max(usage.settled, used)
        if usage.settled >= usage.used:
            self._unsettled.discard(tenant_id)

    def learn(self, tenant_id: UUID, day: int, count: int) -> None:
        """Remember that Redis has counted `count` requests on `day` (days since 1970)."""
        usage = self._tenants.of(tenant_id)
        if day != usage.told_day or count > usage.told:
            usage.told_day, usage.told = day, count

    def known(self, tenant_id: UUID, day: int) -> int:
        """Return the highest count of `day` that Redis told this process."""
        usage = self._tenants.of(tenant_id)
        return usage.told if usage.told_day == day else 0

    def admit(self, tenant_id: UUID, burst: int, daily: int | None, exempt: bool) -> Allowance:
        """Count a tenant's request within this process's part, or refuse it and count nothing."""
        now = int(self._clock() * 1_000_000)
        today, usage = now // _DAY, self._tenants.of(tenant_id)
        if usage.day != today:
            usage.day, usage.used, usage.settled = today, 0, 0
        wait = self._burst_wait(usage, now, burst)
        reset = -(-(_DAY - now % _DAY) // 1_000_000)
        left = None if daily is None else self._day_part(usage, daily) - usage.used
        refused_by: str | None = None
        if left is not None and left <= 0 and not exempt:
            refused_by, wait = "daily", reset * 1_000_000
        elif wait:
            refused_by = "burst"
        else:
            usage.debt += _REQUEST
            usage.used += 1
            self._unsettled.add(tenant_id)
            left = None if left is None else left - 1
        day = (None, None, 0) if daily is None or left is None else (daily, max(0, left), reset)
        return self._allowance(usage, burst, wait, refused_by, day)

    def admit_address(self, network: str, per_second: int) -> Allowance:
        """Count a request of a client's network within this process's part, or refuse it."""
        usage = self._addresses.of(network)
        wait = self._burst_wait(usage, int(self._clock() * 1_000_000), per_second)
        if not wait:
            usage.debt += _REQUEST
        return self._allowance(usage, per_second, wait, "burst" if wait else None, (None, None, 0))

    def _part(self, limit: int) -> int:
        return -(-limit // self._processes)

    def _day_part(self, usage: _Usage, daily: int) -> int:
        # Redis' clock may be past midnight when ours is not: then its count is the stricter truth.
        told = usage.told if usage.told_day >= usage.day else 0
        return self._part(max(0, daily - told))

    def _burst_wait(self, usage: _Usage, now: int, burst: int) -> int:
        """Repay the debt since the last look and return the µs until a request passes, 0 for now."""
        part = self._part(burst)
        repaid = max(now - usage.last, 0) * part
        usage.debt = max(min(usage.debt, part * _REQUEST) - repaid, 0)
        usage.last = now
        return max(0, -(-(usage.debt + _REQUEST - part * _REQUEST) // max(part, 1)))

    def _allowance(
        self,
        usage: _Usage,
        burst: int,
        wait: int,
        refused_by: str | None,
        day: tuple[int | None, int | None, int],
    ) -> Allowance:
        part = self._part(burst)
        return Allowance(
            admitted=refused_by is None,
            burst_limit=burst,
            burst_remaining=(part * _REQUEST - usage.debt) // _REQUEST,
            burst_reset=usage.debt / max(part, 1) / 1_000_000,
            daily_limit=day[0],
            daily_remaining=day[1],
            daily_reset=day[2],
            retry_after=wait / 1_000_000,
            refused_by=refused_by,
            mode="local",
        )
