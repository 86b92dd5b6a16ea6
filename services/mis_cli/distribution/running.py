"""Carries out a plan step by step, each in a transaction of its own, and counts what it moves.

A table is counted before and after in the very transaction that moves it: where the counts differ, nothing
has happened.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg

from mis_cli.distribution.plan import Action, Step
from mis_cli.migrations import MIGRATION_LOCK

_MOVES: Final = (Action.REPLICATE, Action.SPREAD)
# A table and its partitions, as SQL names them.
_RELATIONS: Final = """
select oid::regclass::text as name from pg_class where oid = $1::text::regclass
 union all select inhrelid::regclass::text from pg_inherits where inhparent = $1::text::regclass
"""


class RowsLost(Exception):
    """A table had another number of rows after it was moved; the move was taken back."""


class Busy(Exception):
    """Another migration, distribution or move is under way."""


@dataclass(frozen=True, slots=True)
class Done:
    """A finished step, with the number of rows where it moved some."""

    step: Step
    rows: int | None


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection as the owner; raise Busy while somebody else changes the database's shape.

    What a killed run had asked for may go on for a while, and holds the lock until then.
    """
    # A table of hundreds of gigabytes takes its time.
    connection = await asyncpg.connect(url, server_settings={"statement_timeout": "0"}, timeout=10)
    try:
        if not await connection.fetchval("select pg_try_advisory_lock($1)", MIGRATION_LOCK):
            raise Busy(
                "Another `mis migrate`, `distribute`, `isolate` or `move` is under way, or the server still "
                "ends what one that was stopped had begun. Try again shortly."
            )
        yield connection
    finally:
        await connection.close()


async def carry_out(owner: asyncpg.Connection, step: Step) -> Done:
    """Do one step whole or not at all; raise RowsLost where the counts differ."""
    if step.action not in _MOVES:
        await owner.execute(step.sql)
        return Done(step, None)
    async with owner.transaction():
        # Nobody reads or writes until the move is done.
        await owner.execute(f"lock table {step.subject} in access exclusive mode")
        before = await _rows(owner, step.subject)
        relations = [row["name"] for row in await owner.fetch(_RELATIONS, step.subject)]
        # Rows are moved by COPY, which Postgres refuses to whoever row-level security binds.
        for relation in relations:
            await owner.execute(f"alter table {relation} no force row level security")
        await owner.execute(step.sql)
        for relation in relations:
            await owner.execute(f"alter table {relation} force row level security")
        after = await _rows(owner, step.subject)
        if before != after:
            raise RowsLost(f"{step.subject} had {before} rows before and {after} after; the move was undone.")
    return Done(step, after)


async def _rows(owner: asyncpg.Connection, table: str) -> int:
    return int(await owner.fetchval(f"select count(*) from {table}"))  # noqa: S608  # a name of our models
