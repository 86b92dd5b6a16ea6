"""Suites whose servers a test may stop, cut and lie to, and what their tests look up behind the API."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import httpx

from mis_cli.embedded import DatabaseUrls, database_urls
from tests.mis_tenancy.spool_fixtures import Cable
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, running_suite

USERS = "/api/v1/users"
TENANTS = "/api/v1/tenants"
AUTH = "/api/v1/auth"

SERVICES = ("tenant", "auth", "user")


def route_of(service: str, tenant: TenantHandle) -> str:
    """Return a path of the service that every member may read."""
    return {"tenant": f"{TENANTS}/{tenant.id}", "auth": f"{AUTH}/me", "user": f"{USERS}?limit=1"}[service]


async def each_service(suite: Suite, tenant: TenantHandle, headers: dict[str, str]) -> list[httpx.Response]:
    """Ask every service once, at the same time."""
    asked = (suite.client.get(route_of(service, tenant), headers=headers) for service in SERVICES)
    return list(await asyncio.gather(*asked))


async def flush(suite: Suite) -> None:
    """Move what every service has recorded into Postgres."""
    for service in SERVICES:
        await suite.tenancy(service).recorder.flush()


class Behind:
    """What Postgres really holds, seen past every policy."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def rows(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.connection.fetch(sql, *arguments)]

    async def value(self, sql: str, *arguments: Any) -> Any:
        return await self.connection.fetchval(sql, *arguments)

    async def changes(self, tenant_id: UUID) -> list[str]:
        """Return the actions of the tenant's changes, oldest first."""
        found = await self.rows(
            "select action from audit_logs where tenant_id = $1 and kind = 'change' order by id", tenant_id
        )
        return [row["action"] for row in found]

    async def of_request(self, request_id: str) -> list[dict[str, Any]]:
        """Return the tenants' audit rows of one request."""
        return await self.rows("select * from audit_logs where request_id = $1 order by id", request_id)

    async def carried(self, request_id: str) -> list[dict[str, Any]]:
        """Return the rows of one request that are on their way into the platform's log."""
        jobs = "select payload from jobs where kind = 'platform_trail' and payload->>'request_id' = $1"
        return [json.loads(row["payload"]) for row in await self.rows(jobs, request_id)]


@asynccontextmanager
async def behind(servers: TestServers, database: str | None = None) -> AsyncIterator[Behind]:
    """Yield the superuser's look at this worker's database, or at a further one."""
    name = urlsplit(servers.database(database).app).path.removeprefix("/")
    url = urlsplit(servers.postgres.superuser_url)._replace(path=f"/{name}").geturl()
    connection = await asyncpg.connect(url)
    try:
        yield Behind(connection)
    finally:
        await connection.close()


class ForgetfulCable(Cable):
    """A line that goes dead at the commit of one transaction, known by a text in its values.

    It dies in front of the commit, so that Postgres never hears of it, or behind it, so that nobody hears
    of Postgres' answer.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.refused = 0
        self._marker = b""
        self._passes_commit = False

    def refuse_commit_of(self, marker: str) -> None:
        self._marker, self._passes_commit, self.refused = marker.encode(), False, 0

    def lose_answer_of(self, marker: str) -> None:
        self._marker, self._passes_commit, self.refused = marker.encode(), True, 0

    async def _ask(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        is_marked = False
        while data := await source.read(65536):
            await self._flows.wait()
            is_marked = is_marked or (self._marker != b"" and self._marker in data)
            if b"COMMIT" in data and is_marked:
                is_marked, self._marker, self.refused = False, b"", 1
                if not self._passes_commit:
                    break
                lost.set()
            elif b"COMMIT" in data or b"ROLLBACK" in data:
                is_marked = False
            target.write(data)
        target.transport.abort()


@asynccontextmanager
async def suite_on_a_cable(
    servers: TestServers, directory: Path, roles: Sequence[str] = ("app", "auth", "platform")
) -> AsyncIterator[tuple[Suite, ForgetfulCable]]:
    """Yield a suite, on this worker's database, whose `roles` reach Postgres over a line to be cut."""
    urls = _over_tcp(servers)
    cable = ForgetfulCable(urls.app)
    await cable.start()
    over = {role: _over(cable, getattr(urls, role)) for role in roles}
    settings = {_SETTING[role]: url for role, url in over.items()}
    try:
        async with running_suite(servers, directory, **settings) as suite:
            yield suite, cable
            cable.mend()
    finally:
        await cable.stop()


def _over_tcp(servers: TestServers) -> DatabaseUrls:
    if servers.pooler is not None:
        return servers.services()
    name = urlsplit(servers.database().app).path.removeprefix("/")
    return database_urls(servers.postgres, name, tcp=True)


_SETTING = {"app": "database_url", "auth": "auth_database_url", "platform": "platform_database_url"}


def _over(cable: Cable, url: str) -> str:
    port = urlsplit(cable.url).port
    user = urlsplit(url).netloc.rpartition("@")[0]
    return urlsplit(url)._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
