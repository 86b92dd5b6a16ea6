"""Read-only work, by a replica where it shows all that the tenant has written, else by the primary.

Who reads does not know who answers: the replica is asked in the same message whether it has come far
enough, and whatever keeps it from answering, the primary answers instead
(docs/decisions/0034-reads-from-replicas.md).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import structlog
from sqlalchemy import Select
from sqlalchemy.exc import SQLAlchemyError

from mis_tenancy.database import Database
from mis_tenancy.postgres.wal import ReplicaBehind
from mis_tenancy.replicas.positions import Positions
from mis_tenancy.session import TenantSession
from mis_tenancy.settings import SettingsError

Result = TypeVar("Result")

# Whatever the replica fails by: what is wrong with the statement itself, the primary will say again.
_FAILURES: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    SQLAlchemyError,
)
# Seconds: how long a replica may take, how long one that failed or fell behind is left alone.
_PATIENCE: Final = 5.0
_REST: Final = 1.0
_CATCHING_UP: Final = 0.1

log = structlog.get_logger(__name__)


class Reads:
    """Where declared reads go; without a `replica` to the primary.

    `count` is told who answered each, or why the primary had to: `replica`, `behind`, `away`, `unknown`.
    """

    def __init__(
        self,
        primary: Database,
        replica: Database | None,
        positions: Positions | None,
        count: Callable[[str], None],
    ) -> None:
        self._primary = primary
        self._replica = replica
        self._positions = positions
        self._count = count
        self._is_started = False
        self._rests_until = 0.0
        self._behind = (0, 0.0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[UUID] = set()

    async def start(self) -> None:
        """Connect, or go on trying to: that a replica is away is no error; a wrong URL is a SettingsError."""
        if self._replica is not None and not await self._connected(self._replica):
            self._begin(self._connect(self._replica))

    async def stop(self) -> None:
        """Close the replica's connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._replica is not None:
            await self._replica.stop()

    async def fetch(
        self, statement: Select[*tuple[Any, ...]], tenant_id: UUID, values: Mapping[str, Any] | None = None
    ) -> list[asyncpg.Record]:
        """Run a tenant's select through a statement door (see `StatementDoor.fetch`)."""
        return await self._read(
            tenant_id, lambda database, after: database.fetch(statement, tenant_id, values, after)
        )

    async def run(self, tenant_id: UUID, work: Callable[[TenantSession], Awaitable[Result]]) -> Result:
        """Return what `work` does with a session that cannot write; it may be called twice."""

        async def in_session(database: Database, after: int | None) -> Result:
            async with database.reading(tenant_id, after) as session:
                return await work(session)

        return await self._read(tenant_id, in_session)

    async def _read(
        self, tenant_id: UUID, ask: Callable[[Database, int | None], Awaitable[Result]]
    ) -> Result:
        if self._replica is not None and (after := await self._position(tenant_id)) is not None:
            try:
                async with asyncio.timeout(_PATIENCE):
                    answer = await ask(self._replica, after)
            except ReplicaBehind:
                self._behind = (after, _now() + _CATCHING_UP)
                self._count("behind")
            except _FAILURES as error:
                log.warning("replica.failed", reason=repr(error))
                self._rests_until = _now() + _REST
                self._count("away")
            else:
                self._count("replica")
                return answer
        return await ask(self._primary, None)

    async def _position(self, tenant_id: UUID) -> int | None:
        """Return what the replica must have replayed to answer; None where it is not to be asked now."""
        if self._positions is None or not self._is_started or _now() < self._rests_until:
            self._count("away")
            return None
        position = await self._positions.of(tenant_id)
        if position is None:
            self._count("unknown")
            self._find_out(tenant_id, self._positions)
            return None
        missing, until = self._behind
        if position >= missing and _now() < until:
            self._count("behind")
            return None
        return position

    def _find_out(self, tenant_id: UUID, positions: Positions) -> None:
        """Note where the primary is now, behind whatever the tenant has written, for its next reads."""

        async def find_out() -> None:
            with contextlib.suppress(*_FAILURES):
                await positions.note(tenant_id, await self._primary.written())
            self._asking.discard(tenant_id)

        if tenant_id not in self._asking:
            self._asking.add(tenant_id)
            self._begin(find_out())

    async def _connect(self, replica: Database) -> None:
        while True:
            await asyncio.sleep(_REST)
            try:
                if await self._connected(replica):
                    return
            except SettingsError as error:
                log.error("replica.refused", reason=str(error))
                return

    async def _connected(self, replica: Database) -> bool:
        try:
            await replica.start()
            if await replica.is_replica():
                self._is_started = True
                return True
            log.warning("replica.is_primary", role=replica.role)
            await replica.stop()
        except _FAILURES as error:
            log.warning("replica.unreachable", reason=repr(error))
        return False

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _now() -> float:
    return asyncio.get_running_loop().time()
