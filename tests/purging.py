"""Purging a tenant of the suite here and now, as the worker would, and looking for what it has left."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from mis_tenancy.redis import Redis
from mis_tenancy.settings import MasterKeys
from mis_tenancy.storage import Storage
from tenant_service.endings.certificates import Certifier
from tenant_service.endings.purge import Purge
from tenant_service.endings.tables import KEPT
from tenant_service.endings.tombstone import Tombstones
from tenant_service.endings.traces import Traces
from tests.database import connected, insertion, row_for, tenant_tables
from tests.suite import Suite

TENANTS = "/api/v1/tenants"


@asynccontextmanager
async def traces_of(suite: Suite) -> AsyncIterator[Traces]:
    """Yield access to what tenants have outside Postgres."""
    redis = Redis(suite.settings.redis_url or "", 2.0)
    await redis.start()
    yield Traces(redis, Storage(suite.settings.storage_url))
    await redis.stop()


@asynccontextmanager
async def purging(suite: Suite, **options: Any) -> AsyncIterator[Purge]:
    """Yield the worker's purge over the suite's stores, which does not wait for the promised second."""
    certifier = Certifier(MasterKeys.parse(suite.settings.master_keys), suite.settings.public_url)
    async with traces_of(suite) as traces:
        platform = suite.apps["tenant"].state.platform
        yield Purge(platform, traces, Tombstones(certifier), **({"settling": timedelta(0)} | options))


async def delete_now(suite: Suite, tenant_id: UUID) -> None:
    """Ask for the tenant's deletion without any grace."""
    path = f"{TENANTS}/{tenant_id}"
    answer = await suite.client.delete(path, params={"graceDays": 0}, headers=suite.operator)
    assert answer.status_code == 202, answer.text
    await hear(suite)
    # What is told of requests of before comes in now, not in the midst of a purge that looks once.
    for service in suite.apps:
        await suite.tenancy(service).recorder.flush()


async def purge(suite: Suite, tenant_id: UUID) -> None:
    """Delete the tenant and purge it, and wait until every service knows."""
    await delete_now(suite, tenant_id)
    async with purging(suite) as purge:
        await purge.run(tenant_id)
    await hear(suite)


async def hear(suite: Suite) -> None:
    """Let every service hear all news."""
    for service in suite.apps:
        await suite.tenancy(service).feed.poll()


async def fill(owner_url: str, tenant_id: UUID, rows: int) -> None:
    """Give the tenant `rows` rows in every table there is, but one where it can have no more."""
    parents: dict[str, dict[str, Any]] = {}
    async with connected(owner_url) as connection:
        for table in tenant_tables():
            if table.name in KEPT:
                continue
            made = [row_for(table, tenant_id, parents, uuid4().hex) for _ in range(rows)]
            sql = f"{insertion(table, made[0])} on conflict do nothing"
            await connection.executemany(sql, [tuple(row.values()) for row in made])
            parents[table.name] = made[0]


async def rows_by_table(owner_url: str, tenant_id: UUID) -> dict[str, int]:
    """Return how many rows of the tenant each table holds that is to be empty in the end.

    The tables' owner looks, who sees all, at the tables that Postgres has.
    """
    async with connected(owner_url) as connection:
        counted = {
            table: await connection.fetchval(
                f"select count(*) from {table} where tenant_id = $1",  # noqa: S608  # from the catalogue
                tenant_id,
            )
            for table in await tables_of_tenants(connection)
        }
    return {name: count for name, count in counted.items() if count and name not in KEPT}


async def tables_of_tenants(connection: Any) -> list[str]:
    """Return the tables with a column `tenant_id`, as Postgres' own catalogue has them."""
    found = await connection.fetch(
        "select relname from pg_class c join pg_attribute a on a.attrelid = c.oid and attname = 'tenant_id' "
        "where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition"
    )
    return [row["relname"] for row in found]
