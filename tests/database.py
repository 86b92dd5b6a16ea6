"""What tests of the database layer share: rows in every tenant table, and a proxy that counts round trips."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import Column, ColumnElement, Float, Integer, LargeBinary, SmallInteger, Table, Uuid, func
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.sqltypes import BigInteger, Boolean, Date, DateTime

import mis_models
from mis_tenancy.identifiers import new_id
from mis_tenancy.tables import Base

assert mis_models.__all__, "Importing the package completes the metadata."


def tenant_tables() -> list[Table]:
    """Return the tables with a `tenant_id`, parents first."""
    return [table for table in Base.metadata.sorted_tables if "tenant_id" in table.c]


def made_up(table: Table, column: Column[Any], unique: str) -> Any:
    """Return a value that `column` takes; `unique`, hexadecimal, tells rows apart."""
    for check in table.constraints:
        # A column with a list of values takes the first one.
        listed = re.match(rf"{column.name} in \('([^']+)'", str(getattr(check, "sqltext", "")))
        if listed is not None:
            return listed[1]
    if isinstance(column.type, Uuid):
        return new_id()
    if isinstance(column.type, DateTime):
        return datetime.now(UTC)
    if isinstance(column.type, Date):
        return datetime.now(UTC).date()
    if isinstance(column.type, postgresql.BIT):
        return asyncpg.BitString("1" * (column.type.length or 1))
    if isinstance(column.type, Boolean):
        return False
    if isinstance(column.type, SmallInteger):
        return 1
    if isinstance(column.type, Integer | BigInteger):
        return int(unique[-7:], 16)
    if isinstance(column.type, Float):
        return int(unique[-7:], 16) / 2**28
    if isinstance(column.type, LargeBinary):
        return unique.encode()
    if isinstance(column.type, postgresql.JSONB):
        return "{}"
    return f"{column.name}-{unique}".lower()


def row_for(
    table: Table, tenant_id: UUID, parents: dict[str, dict[str, Any]], unique: str | None = None
) -> dict[str, Any]:
    """Return one complete row of `table` for the tenant, pointing at the tenant's rows in `parents`."""
    row: dict[str, Any] = {}
    for column in table.c:
        references = [key.column for key in column.foreign_keys if key.column.table.name in parents]
        if column.name == "tenant_id" or (table.name == "tenants" and column.name == "id"):
            row[column.name] = tenant_id
        elif references:
            row[column.name] = parents[references[0].table.name][references[0].name]
        elif column.primary_key or not (column.nullable or column.server_default is not None):
            row[column.name] = made_up(table, column, unique or tenant_id.hex)
    return row


@dataclass
class Seeded:
    """A tenant with one row in every table that has a `tenant_id`."""

    id: UUID
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)


def earlier(moment: InstrumentedAttribute[Any], by: timedelta) -> ColumnElement[datetime]:
    """Return a moment that lies so much earlier, for an UPDATE.

    Without a zone in between the difference depends on the session's, and Citus refuses that in an UPDATE.
    """
    without_zone = func.timezone("UTC", moment, type_=DateTime()) - by
    return func.timezone("UTC", without_zone, type_=DateTime(timezone=True))


def insertion(table: Table, row: dict[str, Any]) -> str:
    """Return the statement that inserts `row`'s columns, in their order."""
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    return f"insert into {table.name} ({', '.join(row)}) values ({places})"  # noqa: S608  # names of our models


async def insert(connection: asyncpg.Connection, table: Table, row: dict[str, Any]) -> str:
    """Insert `row` as the connection's role."""
    status: str = await connection.execute(insertion(table, row), *row.values())
    return status


async def fill(owner_url: str, seeded: Seeded, rows: int) -> None:
    """Add `rows` rows to each of the tenant's tables, for plans that depend on their number."""
    async with connected(owner_url) as connection:
        for table in tenant_tables():
            many = [row_for(table, seeded.id, seeded.rows, uuid4().hex) for _ in range(rows)]
            sql = f"{insertion(table, many[0])} on conflict do nothing"
            await connection.executemany(sql, [tuple(row.values()) for row in many])
        await connection.execute("analyze")


async def seed_tenant(owner_url: str) -> Seeded:
    """Give a new tenant one row in every tenant table, as the owner of the tables."""
    seeded = Seeded(new_id())
    connection = await asyncpg.connect(owner_url)
    try:
        tenants = Base.metadata.tables["tenants"]
        for table in (tenants, *tenant_tables()):
            row = row_for(table, seeded.id, seeded.rows)
            await insert(connection, table, row)
            seeded.rows[table.name] = row
    finally:
        await connection.close()
    return seeded


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a bare driver connection, for what no door would do."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def bound(url: str, tenant_id: UUID | None) -> AsyncIterator[asyncpg.Connection]:
    """Yield a bare connection in a transaction of the tenant, rolled back at the end."""
    async with connected(url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"SET LOCAL app.tenant_id = '{tenant_id or ''}'")
        yield connection
        if not connection.is_closed():
            await transaction.rollback()


class CountingProxy:
    """A proxy in front of Postgres, or of what else speaks TCP: counts client turns, can fall silent.

    A turn is a message of the client's after one of the server's: what the client sends in one go, or in
    several writes without waiting, costs one round trip. `watch` sees each message before it is passed on.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.turns = 0
        self.sent: list[bytes] = []
        self.watch: Callable[[bytes], None] = lambda data: None

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user, at, _ = self._target.netloc.rpartition("@")
        # What it says of a pooler holds behind the proxy as well.
        query = urlencode([(k, v) for k, v in parse_qsl(self._target.query) if k not in ("host", "port")])
        return urlunsplit(self._target._replace(netloc=f"{user}{at}127.0.0.1:{port}", query=query))

    def silence(self) -> None:
        """Let nothing through any more, without closing anything."""
        self._open.clear()

    def heal(self) -> None:
        """Let new connections through; those that were silenced stay silent, as after a lost route."""
        self._open = asyncio.Event()
        self._open.set()

    def cut(self) -> None:
        """Close everything and take no more connections, as a server that is gone."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def reset(self) -> None:
        self.turns = 0
        self.sent.clear()

    async def __aenter__(self) -> "CountingProxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        query = parse_qs(self._target.query)
        if "host" in query:
            path = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
            server, forward = await asyncio.open_unix_connection(path)
        else:
            server, forward = await asyncio.open_connection(self._target.hostname, self._target.port)
        waiting, flowing = False, self._open
        self._writers |= {answer, forward}

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool) -> None:
            nonlocal waiting
            while data := await source.read(65_536):
                await flowing.wait()
                if up and not waiting:
                    self.turns += 1
                if up:
                    self.sent.append(data)
                waiting = up
                self.watch(data)
                sink.write(data)
                await sink.drain()

        carriers = [
            asyncio.create_task(carry(client, forward, up=True)),
            asyncio.create_task(carry(server, answer, up=False)),
        ]
        try:
            await asyncio.wait(carriers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for carrier in carriers:
                carrier.cancel()
            await asyncio.gather(*carriers, return_exceptions=True)
            for writer in (answer, forward):
                writer.transport.abort()
                self._writers.discard(writer)
