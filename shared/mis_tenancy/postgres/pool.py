"""The driver's pool, whose transactions begin bound and on a connection that is alive.

It sends no reset query when a connection comes back: nothing that runs here leaves its transaction, and one
that is still open is rolled back by the driver itself.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from mis_tenancy.postgres.connection import Bound, TenantConnection

# What a transaction's BEGIN meets on a connection whose server process died while it lay idle. Nothing of the
# transaction has run then, so it may begin again on another one.
_GONE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
)

# Seconds that a rollback may take before its connection is given up: a silent network would make it wait for
# ever.
_PATIENCE: Final = 2.0


class TenantPool:
    """Connections of one role, each transaction on them armed with what it is bound to."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, dsn: str, size: int, **options: Any) -> "TenantPool":
        """Return a pool of at most `size` connections, made as they are needed."""

        async def disarm(connection: TenantConnection) -> None:
            connection.arm(None)

        return cls(
            await asyncpg.create_pool(
                dsn,
                connection_class=TenantConnection,
                min_size=0,
                max_size=size,
                init=disarm,
                reset=disarm,
                **options,
            )
        )

    async def close(self) -> None:
        """Close every connection once it is free; end those that do not become free."""
        try:
            async with asyncio.timeout(_PATIENCE * 5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def transaction(
        self, bound: Bound, *, readonly: bool = False, after: int | None = None
    ) -> AsyncIterator[TenantConnection]:
        """Yield a connection in a transaction of `bound`; commit at the end, roll back on an exception.

        Raise ReplicaBehind on a replica that has not replayed up to `after`.
        """
        connection, transaction = await self._begin(bound, readonly=readonly, after=after)
        try:
            yield connection
            await transaction.commit()
        except BaseException:
            await _undo(connection, transaction)
            raise
        finally:
            await self._pool.release(connection, timeout=_PATIENCE)

    async def _begin(
        self, bound: Bound, *, readonly: bool, after: int | None
    ) -> tuple[TenantConnection, Any]:
        # All the idle connections may have died with their server; one more attempt makes a new one.
        attempts = self._pool.get_idle_size() + 1
        while True:
            attempts -= 1
            connection = await self._pool.acquire()
            connection.arm(bound, after)
            transaction = connection.transaction(readonly=readonly)
            try:
                await transaction.start()
            except BaseException as error:
                await self._pool.release(connection, timeout=_PATIENCE)
                if attempts <= 0 or not isinstance(error, _GONE):
                    raise
            else:
                return connection, transaction


async def _undo(connection: TenantConnection, transaction: Any) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            await transaction.rollback()
    except BaseException as error:
        # A connection that died has left the pool's hands already, which the driver counts as misuse.
        with contextlib.suppress(asyncpg.InterfaceError):
            connection.terminate()
        if not isinstance(error, Exception):
            raise
