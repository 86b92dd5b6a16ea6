"""The news that ends tokens and stales caches, in force in every process within a second.

Each change inserts a row in its own transaction; Redis only wakes the pollers. Every process reads the table
each `interval` seconds, and one whose last good read is older than `stale_after` asks Postgres before it
trusts a cache or refuses to serve: the promise holds without Redis, never without Postgres.

A poll asks for rows whose transaction id is at least the oldest one that was still running at the last poll.
So a row is seen however late its transaction commits, which no overlap in clock time can promise
(docs/decisions/0002-revocations-by-transaction-id.md).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from mis_tenancy.database import Database
from mis_tenancy.errors import TenantUnavailable
from mis_tenancy.identifiers import new_id
from mis_tenancy.postgres.connection import plain_uuid
from mis_tenancy.session import NEWS
from mis_tenancy.tables import RevocationRow
from mis_tenancy.tenant import Principal, PrincipalKind

log = structlog.get_logger(__name__)

CHANNEL: Final = "mis:revocations"

# No access token lives longer than 15 minutes, so older news concerns none.
_MEMORY_SECONDS: Final = 30 * 60

_POLL: Final = """
select s.xmin, r.id, r.kind, r.tenant_id, r.subject, r.epoch, r.xid
  from (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xmin) s
  left join revocations r on r.xid >= $1
"""
_FIRST: Final = """
select s.xmin, r.id, r.kind, r.tenant_id, r.subject, r.epoch, r.xid
  from (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xmin) s
  left join revocations r on r.created_at > clock_timestamp() - make_interval(secs => $1)
"""


class Kind(StrEnum):
    """What a revocation is about."""

    TENANT = "tenant"
    USER = "user"
    SESSION = "session"
    KEY = "key"
    SIGNING_KEY = "signing_key"


def revoke(
    session: AsyncSession,
    kind: Kind,
    subject: UUID | None = None,
    *,
    tenant_id: UUID | None,
    epoch: int | None = None,
) -> None:
    """Add the news to `session`, to commit with the change it tells of.

    `epoch` is the lowest one whose tokens stay good, for a user or a tenant; a tenant's change of status,
    plan or configuration has none and only stales caches. `subject` defaults to the tenant.
    """
    row = RevocationRow(
        id=new_id(), kind=kind.value, tenant_id=tenant_id, subject=subject or tenant_id, epoch=epoch
    )
    session.add(row)
    session.info.setdefault(NEWS, []).append(row)


class Wakeups(Protocol):
    """The part of the Redis client that carries wake-ups; losing one costs at most the poll interval."""

    async def publish(self, channel: str, payload: str) -> None:
        """Send `payload` to whoever listens on `channel` now."""

    async def subscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Call `callback` with each payload that arrives on `channel` from now on."""


class RevocationFeed:
    """What this process knows to be revoked, and how fresh that knowledge is."""

    def __init__(
        self,
        database: Database,
        wakeups: Wakeups | None = None,
        *,
        interval: float = 0.5,
        stale_after: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._wakeups = wakeups
        self._interval = interval
        self._stale_after = stale_after
        self._clock = clock
        self._xmin = 0
        self._seen: set[UUID] = set()
        # By tenant (None for an operator) and subject: a tenant may choose the ids of those it brings in, and
        # must end nobody else's tokens with them.
        self._epochs: dict[tuple[UUID | None, UUID], tuple[int, float]] = {}
        self._ended: dict[UUID, float] = {}
        self._good_at = float("-inf")
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._announcements: set[asyncio.Task[None]] = set()
        self.on_tenant: list[Callable[[UUID], None]] = []
        self.on_signing_key: list[Callable[[], Awaitable[None]]] = []
        self.on_key: list[Callable[[UUID], None]] = []

    async def start(self) -> None:
        """Load what still matters, then follow; raise what Postgres raises when it cannot be read."""
        await self._read(_FIRST, _MEMORY_SECONDS)
        if self._wakeups is not None:
            await self._wakeups.subscribe(CHANNEL, lambda _: self._wake.set())
        self._task = asyncio.create_task(self._follow(), name="revocations")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def lag(self) -> float:
        """Seconds since the moment this process is known to be up to date with."""
        return self._clock() - self._good_at

    @property
    def is_fresh(self) -> bool:
        """Whether caches may be trusted without asking Postgres."""
        return self.lag <= self._stale_after

    async def confirm(self) -> None:
        """Make sure the process is up to date; raise TenantUnavailable when Postgres cannot say."""
        if self.is_fresh:
            return
        try:
            async with asyncio.timeout(self._stale_after * 2):
                await self.poll()
        except Exception as error:
            log.warning("revocations.unconfirmed", error=repr(error), lag=round(self.lag, 2))
            raise TenantUnavailable(
                "The status of the tenant cannot be confirmed at the moment. Try again shortly."
            ) from error

    async def poll(self) -> None:
        """Read the news now; callers that arrive while a read waits its turn share the next one."""
        asked = self._clock()
        async with self._lock:
            if self._good_at < asked:
                # A connection that went silent must not hold the feed up for ever: the next poll takes
                # another.
                async with asyncio.timeout(self._stale_after * 2):
                    await self._read(_POLL, self._xmin)

    async def hear(self, news: Iterable[RevocationRow]) -> None:
        """Put news of this process's own in force at once; it must be committed. The others read theirs."""
        for row in news:
            told = ("kind", "tenant_id", "subject", "epoch")
            await self._apply({name: getattr(row, name) for name in told})
            self._seen.add(row.id)

    def announce(self) -> None:
        """Wake every process, this one first; called after a commit that carried news."""
        self._wake.set()
        if self._wakeups is not None:
            task = asyncio.get_running_loop().create_task(self._publish(self._wakeups))
            self._announcements.add(task)
            task.add_done_callback(self._announcements.discard)

    def is_revoked(self, principal: Principal) -> bool:
        """Return whether the token behind `principal` has been withdrawn."""
        if principal.session_id in self._ended or principal.id in self._ended:
            return True
        if principal.kind is PrincipalKind.API_KEY:
            # A key has no epoch: it is read anew when its creator's changes, and outlasts a suspension.
            return False
        own = principal.tenant_id
        home = None if principal.kind is PrincipalKind.OPERATOR else own
        if principal.user_epoch < self._epoch(home, principal.id):
            return True
        return own is not None and principal.tenant_epoch < self._epoch(own, own)

    def has_heard_more(self, tenant_id: UUID, user_id: UUID, epoch: int) -> bool:
        """Return whether the user has an epoch later than `epoch`: what was known of them then is stale."""
        return epoch < self._epoch(tenant_id, user_id)

    def _epoch(self, tenant_id: UUID | None, subject: UUID) -> int:
        return self._epochs.get((tenant_id, subject), (0, 0.0))[0]

    async def _publish(self, wakeups: Wakeups) -> None:
        try:
            await wakeups.publish(CHANNEL, "")
        except Exception as error:
            # The pollers hear within their interval; a lost wake-up is not a lost revocation.
            log.info("revocations.wakeup_lost", error=repr(error))

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.poll()
            except Exception as error:
                log.warning("revocations.poll_failed", error=repr(error), lag=round(self.lag, 2))
                await asyncio.sleep(self._interval)

    async def _read(self, sql: str, since: float) -> None:
        asked = self._clock()
        async with self._database.system_transaction() as system:
            rows = await system.fetch(sql, since)
            fresh = [row for row in rows if row["id"] is not None]
            # Caches that the news stales must not be filled again with what was before it.
            is_settled = not fresh or await system.is_settled()
        for row in fresh:
            if row["id"] not in self._seen:
                await self._apply(row)
        # The mark moves only when all of its news is in force: were one listener to fail, the next poll
        # repeats it.
        if is_settled:
            self._xmin = rows[0]["xmin"]
            # Only rows at or past the new mark can come again.
            self._seen = {row["id"] for row in fresh if row["xid"] >= self._xmin}
        self._good_at = asked
        self._forget(asked)

    async def _apply(self, row: Any) -> None:
        kind, now = Kind(row["kind"]), self._clock()
        if kind is Kind.SIGNING_KEY:
            for reload in self.on_signing_key:
                await reload()
            return
        subject = plain_uuid(row["subject"])
        if kind in (Kind.SESSION, Kind.KEY):
            self._ended[subject] = now
        elif row["epoch"] is not None:
            of = None if row["tenant_id"] is None else plain_uuid(row["tenant_id"])
            self._epochs[of, subject] = (max(self._epoch(of, subject), row["epoch"]), now)
        if kind is Kind.TENANT:
            for stale in self.on_tenant:
                stale(subject)
        elif kind is Kind.KEY:
            for drop in self.on_key:
                drop(subject)

    def _forget(self, now: float) -> None:
        horizon = now - _MEMORY_SECONDS
        for subject in [subject for subject, at in self._ended.items() if at < horizon]:
            del self._ended[subject]
        for key in [key for key, (_, at) in self._epochs.items() if at < horizon]:
            del self._epochs[key]
