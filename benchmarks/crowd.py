"""Run with `make bench ARGS="crowd --users 10000000"`: what lists, searches, imports read among so many.

Each statement is the service's own, run as the application role under row-level security in the largest
tenant, several times, so that Postgres has settled on a plan; what it read is what `explain` says of the last
time. Reading through a whole table, or far more than a page is worth, ends the run with an error. Ten million
users take about 20 GB of disk for as long as it runs, and half an hour of one processor.
"""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from benchmarks.crowd_rows import LARGE, fill
from benchmarks.ground import ground
from benchmarks.people import measure_import
from mis_http.pages import Page
from mis_tenancy.database import Database
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Role
from user_service.imports.files import Format
from user_service.imports.repository import addresses_in_use
from user_service.users.filters import UserFilter
from user_service.users.repository import page_steps
from user_service.users.search_repository import Step, is_whole

_DIALECT: Final = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
_EXPLAIN: Final = "explain (analyze, buffers, timing off, format json) "
_TRIES: Final = 8
# What many have and hardly anybody has together is found by collecting all of one, so it is worth more.
_RARE_TOGETHER: Final = (UserFilter("maria schaller"), UserFilter("schaller", status="disabled"))
_WORTH_OF_RARE: Final = 20
# Blocks of 8 KiB that a page may read: some for each user on it, and those of a walk that finds few.
_MOST_BLOCKS: Final = 2_000
_SEARCHES: Final = (
    *(UserFilter(), UserFilter(role=Role.VIEWER), UserFilter(status="disabled")),
    *(UserFilter(role=Role.MEMBER, status="active"),),
    *map(UserFilter, ("m", "ma", "maria", "schaller", "maria.schaller", "flattmannhof", "zebulonia")),
    *map(UserFilter, ("ma sch", "m s", "jo ba", "maria flattmannhof")),
    *(UserFilter("maria", status="active"), UserFilter("maria", role=Role.VIEWER)),
    *(UserFilter("maria", role=Role.MEMBER, status="active"), UserFilter("s", role=Role.ADMIN)),
    *_RARE_TOGETHER,
)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a statement took and read, and how it read the tables."""

    milliseconds: float
    found: int
    blocks: int
    scans: frozenset[str]


def main() -> None:
    """Fill, read and print a line for each statement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks crowd", description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000, help="how many there are in all tenants")
    parser.add_argument("--rows", type=int, default=20_000, help="how many are then imported beside them")
    options = parser.parse_args()
    with ground() as given:
        fill(given, options.users)
        asyncio.run(_measure(given.urls.app, options.rows))


async def _measure(url: str, rows: int) -> None:
    database = Database(url)
    await database.start()
    async with database.system_transaction(LARGE) as system:
        users = (await system.fetch("select count(*) from users"))[0][0]
        half = await system.fetch("select id from users order by id offset $1 limit 1", users // 2)
    print(f"{users:,} users of one tenant; pages of 20, newest and oldest first, and one from the midst")
    for wanted in _SEARCHES:
        await _print_pages(database, wanted, half[0][0])
    async with database.transaction(LARGE) as session:
        norms = [f"nobody.{number}@tenant1.example" for number in range(1_000)]
        _print("import, 1,000 addresses looked up", [await _read(session, addresses_in_use(norms), 10)])
    await measure_import(database, LARGE, rows, Format.CSV)
    await database.stop()


async def _print_pages(database: Database, wanted: UserFilter, half: UUID) -> None:
    pages = (Page(20), Page(20, ascending=True), Page(20, after=half))
    worth = _WORTH_OF_RARE if wanted in _RARE_TOGETHER else 1
    readings = []
    for page in pages:
        async with database.transaction(LARGE) as session:
            readings.append(await _read_until_whole(session, page_steps(wanted, page), worth))
    filters = (wanted.query, wanted.role and wanted.role.value, wanted.status)
    _print(" + ".join(one for one in filters if one) or "everybody", readings)


async def _read_until_whole(session: TenantSession, steps: Iterator[Step], worth: int) -> _Reading:
    """Return what all the statements together read that a page takes."""
    milliseconds, blocks, scans = 0.0, 0, frozenset[str]()
    for step in steps:
        statement = step.statement.params(**step.values)
        one = await _read(session, statement, worth)
        milliseconds, blocks, scans = milliseconds + one.milliseconds, blocks + one.blocks, scans | one.scans
        if is_whole((await session.execute(statement)).all()):
            break
    return _Reading(milliseconds, one.found, blocks, scans)


async def _read(session: TenantSession, statement: Select[Any], worth: int) -> _Reading:
    """Return what the statement read; raise SystemExit where that is a whole table or far too much."""
    compiled = statement.compile(dialect=_DIALECT)
    values = tuple(compiled.params[name] for name in compiled.positiontup or ())
    connection = await session.connection()
    for _ in range(_TRIES):
        told = (await connection.exec_driver_sql(f"{_EXPLAIN}{compiled}", values)).scalar_one()[0]
    plan = told["Plan"]
    blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    reading = _Reading(told["Execution Time"], int(plan["Actual Rows"]), blocks, frozenset(_scans(plan)))
    if "Seq Scan" in reading.scans or blocks > worth * _MOST_BLOCKS:
        raise SystemExit(f"{reading} is too much for\n{compiled}\nwith {values}")
    return reading


def _scans(node: dict[str, Any]) -> Iterator[str]:
    """Yield how the plan reads tables, of what it did read."""
    if "Relation Name" in node and node["Actual Loops"]:
        yield node["Node Type"]
    for child in node.get("Plans", ()):
        yield from _scans(child)


def _print(what: str, readings: Sequence[_Reading]) -> None:
    cells = "".join(
        f"{one.found:>6} in {one.milliseconds:>8.2f} ms, {one.blocks:>5} blocks" for one in readings
    )
    ways = ", ".join(sorted({way for one in readings for way in one.scans}))
    print(f"{what:<34}{cells}   {ways}", flush=True)
