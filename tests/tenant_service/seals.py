"""What tests of audit seals share: rows, a sealer, a verifier, and the hand of the tables' owner."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.seals import SealKeys
from mis_tenancy.session import TenantSession
from tenant_service.audit_seals.sealing import Sealing
from tenant_service.audit_seals.service import Anchor, Verdict, Verification
from tests.servers import TestServers
from tests.suite import Suite


class Log:
    """The audit log of a tenant that only this test writes to, past its API."""

    def __init__(self, suite: Suite, servers: TestServers, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self.owner_url = servers.database().owner
        self.database: Database = suite.tenancy("tenant").database
        self.platform: Database = suite.apps["tenant"].state.platform
        self.keys = SealKeys(suite.tenancy("tenant").settings.master_keys)
        self.sealing = Sealing(self.platform, self.keys)

    def record(self, session: TenantSession, number: int = 0) -> UUID:
        """Add a row to the session, every field of it filled."""
        return record_change(
            session,
            action="thing.changed",
            actor=new_id(),
            actor_kind="member",
            resource=f"things/{number}",
            changes={"size": {"old": None, "new": number}},
            ip="192.0.2.1",
            user_agent="tests/1",
            request_id=f"r-{number}",
            sources=["token"],
        )

    async def write(self, rows: int) -> list[UUID]:
        """Write rows in a transaction of their own."""
        async with self.database.transaction(self.tenant_id) as session:
            return [self.record(session, number) for number in range(rows)]

    async def write_at(self, moment: datetime, rows: int) -> None:
        """Write rows with ids of an earlier moment, as an adopted spool does."""
        async with self.hand() as hand:
            await hand.executemany(
                "insert into audit_logs (tenant_id, id, kind, action, outcome) "
                "values ($1, $2, 'request', 'GET /', 'success')",
                [(self.tenant_id, new_id(int(moment.timestamp() * 1000) + number)) for number in range(rows)],
            )

    async def settle(self) -> None:
        """Wait until no transaction of before, of whichever test, holds a pass back from the rows."""
        async with self.hand() as hand:
            written = await hand.fetchval("select pg_current_xact_id()::text::bigint")
            for _ in range(200):
                if (
                    await hand.fetchval("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
                    > written
                ):
                    return
                await asyncio.sleep(0.05)
        raise AssertionError("An older transaction goes on and on.")

    async def seal(self) -> None:
        """Seal until nothing of this log waits; transactions of other tests may hold a pass back."""
        for _ in range(200):
            await self.sealing.seal()
            if (await self.verify()).unsealed == 0:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("The log's rows were not sealed.")

    async def verify(self, anchor: Anchor | None = None, keys: SealKeys | None = None) -> Verdict:
        """Verify as the endpoint does."""
        async with self.database.transaction(self.tenant_id) as session:
            return await Verification(session, keys or self.keys, anchor).verify()

    @asynccontextmanager
    async def hand(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection of the role that owns the tables."""
        connection = await asyncpg.connect(self.owner_url)
        try:
            yield connection
        finally:
            await connection.close()

    async def seals(self) -> list[Any]:
        """Return the log's seals in order."""
        async with self.hand() as hand:
            rows: list[Any] = await hand.fetch(
                "select * from audit_seals where tenant_id = $1 order by seq", self.tenant_id
            )
            return rows


async def new_log(suite: Suite, servers: TestServers, batches: Iterable[int] = ()) -> Log:
    """Return the log of a new tenant, with each of `batches` many rows under a seal of its own."""
    tenant_id = new_id()
    log = Log(suite, servers, tenant_id)
    async with log.hand() as hand:
        await hand.execute(
            "insert into tenants "
            "(id, name, slug, subdomain, plan, status, status_since, created_at, updated_at) "
            "values ($1, 'Log', $2, $2, 'basic', 'active', $3, $3, $3)",
            tenant_id,
            f"log-{tenant_id.hex}",
            datetime.now(UTC),
        )
        await hand.execute("insert into tenant_counters (tenant_id) values ($1)", tenant_id)
    for rows in batches:
        await log.write(rows)
        await log.seal()
    return log
