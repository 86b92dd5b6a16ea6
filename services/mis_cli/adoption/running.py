"""Takes the steps, one statement and one transaction each, beside whoever reads and writes.

A lock that is not had at once is given up and asked for again: a statement that waits for a lock makes all
that come after it wait as well.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from mis_cli.adoption.planning import Step

# Shorter than Postgres' deadlock_timeout, one second: of two who wait for one another it is always the
# adoption that gives way, and never somebody's request.
LOCK_TIMEOUT: Final = "500ms"
_TRIES: Final = 100
_PAUSE_SECONDS: Final = 0.5
# Pages of 8 KiB: a few thousand rows, for a moment's transaction.
_PAGES_AT_ONCE: Final = 64


class AdoptionRefused(RuntimeError):
    """Nothing was begun; the message says why."""


class AdoptionFailed(RuntimeError):
    """A step failed; what was done before it stands, and the same command goes on."""


Hear = Callable[[Step, float], None]


@asynccontextmanager
async def connected(owner_url: str) -> AsyncIterator[Any]:
    """Yield a connection of the tables' owner that waits for no lock for long."""
    settings = {"application_name": "mis adopt", "lock_timeout": LOCK_TIMEOUT, "statement_timeout": "0"}
    connection = await asyncpg.connect(owner_url, timeout=10, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


async def take(connection: Any, steps: Sequence[Step], hear: Hear) -> None:
    """Take the steps; `hear` is told of each with the share of it that is done."""
    # So that nobody else's session of this kind does the same at once.
    if not await connection.fetchval("select pg_try_advisory_lock(hashtext('mis adopt'))"):
        raise AdoptionRefused("Another `mis adopt` is at work in this database. Wait for it.")
    for step in steps:
        hear(step, 0)
        try:
            await _take(connection, step, hear)
        except asyncpg.PostgresError as error:
            raise AdoptionFailed(
                f"{step.sql}\n  {error}. What was done before stands; mend that and run the same again."
            ) from error
        hear(step, 1)


async def _take(connection: Any, step: Step, hear: Hear) -> None:
    if step.fills:
        await _fill(connection, step, hear)
    elif " concurrently " in step.sql.lower():
        # Its lock is in nobody's way, and it has to wait for every transaction that is older.
        await connection.execute("set lock_timeout = 0")
        await connection.execute(step.sql)
        await connection.execute(f"set lock_timeout = '{LOCK_TIMEOUT}'")
    else:
        await _patiently(connection, step.sql)


async def _fill(connection: Any, step: Step, hear: Hear) -> None:
    """Fill a range of pages at a time; rows that are written meanwhile have their value by default."""
    for first in range(0, step.pages + 1, _PAGES_AT_ONCE):
        ranged = f"ctid >= '({first},0)'::tid and ctid < '({first + _PAGES_AT_ONCE},0)'::tid"
        await _patiently(connection, f"{step.sql} and {ranged}")
        hear(step, min(1.0, first / (step.pages or 1)))
    # What an update has moved past the last page that was counted.
    await _patiently(connection, step.sql)


async def _patiently(connection: Any, sql: str) -> None:
    for left in range(_TRIES - 1, -1, -1):
        try:
            await connection.execute(sql)
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if not left:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
