"""A migrated database of the spool tests' own, the line to it that they may cut, and what lies in it."""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from mis_cli.embedded import database_urls
from mis_tenancy.audit import AuditRecord
from mis_tenancy.database import Database
from mis_tenancy.encryption import Wrapping
from mis_tenancy.identifiers import new_id
from mis_tenancy.origins.actor_keys import ActorKeys
from mis_tenancy.origins.sealing import SpoolCipher
from mis_tenancy.records.record import Lines
from mis_tenancy.settings import MasterKeys
from tests.servers import TestServers

MASTER_KEYS = MasterKeys.parse(f"spools:{base64.b64encode(bytes(32)).decode()}")
LINES = Lines(SpoolCipher(MASTER_KEYS))


def fresh_keys() -> ActorKeys:
    """Return the keys of a process that has met no actor yet."""
    return ActorKeys(Wrapping(MASTER_KEYS))


@dataclass(frozen=True, slots=True)
class SpoolServer:
    """Where the server is: as the application over TCP, and as the superuser, who sees all rows."""

    app_url: str
    superuser_url: str


@dataclass(slots=True)
class Ledger:
    """What Postgres holds of some tenants."""

    connection: asyncpg.Connection
    tenants: list[UUID] = field(default_factory=list)

    async def new_tenant(self) -> UUID:
        tenant = new_id()
        await self.connection.execute(
            """
            insert into tenants
              (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
            values ($1, 'T', $2, $2, 'basic', 'active', now(), now(), now())
            """,
            tenant,
            f"t-{tenant.hex}",
        )
        self.tenants.append(tenant)
        return tenant

    async def rows(self) -> list[Any]:
        return await self.connection.fetch(  # type: ignore[no-any-return]
            "select * from audit_logs where tenant_id = any($1) order by id", self.tenants
        )

    async def outcomes(self) -> dict[UUID, str]:
        rows = await self.rows()
        assert len(rows) == len({row["id"] for row in rows})
        return {row["id"]: row["outcome"] for row in rows}

    async def totals(self) -> dict[UUID, dict[str, int]]:
        rows = await self.connection.fetch(
            """
            select tenant_id, sum(requests)::int as requests, sum(errors)::int as errors,
                   sum(client_errors)::int as client_errors, sum(rejected)::int as rejected,
                   sum(counted)::int as counted
              from usage_hours where tenant_id = any($1) group by tenant_id
            """,
            self.tenants,
        )
        return {row["tenant_id"]: {k: v for k, v in row.items() if k != "tenant_id"} for row in rows}

    async def assert_agrees_with_the_log(self) -> None:
        logged = Counter(row["tenant_id"] for row in await self.rows() if row["kind"] == "request")
        counted = {tenant: total["requests"] for tenant, total in (await self.totals()).items()}
        assert counted == dict(logged)


class Cable:
    """The line between the application and Postgres, to be cut, stalled, or cut right after a commit."""

    def __init__(self, target: str) -> None:
        self.commits_to_lose = 0
        self._target = urlsplit(target)
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        user, _, _ = self._target.netloc.rpartition("@")
        return self._target._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()

    async def stop(self) -> None:
        self._flows.set()
        self.cut()
        self._server.close()
        await asyncio.gather(*self._tasks)

    def cut(self) -> None:
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self._is_cut = False
        self._flows.set()

    def stall(self) -> None:
        self._flows.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(OSError), ExitStack() as ends:
            self._hold(writer, ends)
            if self._is_cut:
                return
            answers, server = await asyncio.open_connection("127.0.0.1", self._target.port)
            self._hold(server, ends)
            lost = asyncio.Event()
            await asyncio.gather(self._ask(reader, server, lost), self._answer(answers, writer, lost))

    def _hold(self, writer: asyncio.StreamWriter, ends: ExitStack) -> None:
        self._writers.add(writer)
        ends.callback(self._writers.discard, writer)
        ends.callback(writer.transport.abort)

    async def _ask(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        while data := await source.read(65536):
            await self._flows.wait()
            if b"COMMIT" in data and self.commits_to_lose:
                self.commits_to_lose -= 1
                lost.set()
            target.write(data)
        target.transport.abort()

    async def _answer(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        while data := await source.read(65536):
            await self._flows.wait()
            if lost.is_set():
                break
            target.write(data)
        target.transport.abort()


def spool_server(servers: TestServers) -> SpoolServer:
    """Return a database of the spool tests' own, because one of them takes a right away for a moment."""
    name = urlsplit(servers.database("spool").app).path.removeprefix("/")
    superuser = urlsplit(servers.postgres.superuser_url)._replace(path=f"/{name}").geturl()
    return SpoolServer(database_urls(servers.postgres, name, tcp=True).app, superuser)


@asynccontextmanager
async def opened_database(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=4, actor_keys=fresh_keys())
    await database.start()
    try:
        yield database
    finally:
        with suppress(OSError, asyncpg.PostgresError):
            await database.stop()


@asynccontextmanager
async def opened_cable(target: str) -> AsyncIterator[Cable]:
    cable = Cable(target)
    await cable.start()
    try:
        yield cable
    finally:
        await cable.stop()


@asynccontextmanager
async def opened_ledger(server: SpoolServer) -> AsyncIterator[Ledger]:
    connection = await asyncpg.connect(server.superuser_url)
    try:
        yield Ledger(connection)
    finally:
        await connection.close()


def request_of(tenant: UUID, **fields: Any) -> AuditRecord:
    """Return the admission of a made-up request of `tenant`."""
    return AuditRecord(tenant_id=tenant, **({"kind": "request", "action": "GET /api/v1/users"} | fields))
