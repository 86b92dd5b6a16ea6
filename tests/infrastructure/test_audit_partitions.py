"""Partitions of the audit log: made ahead of time, and made up for when nobody did for months."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.identifiers import new_id
from tests.citus import table_of
from tests.database import bound, connected
from tests.servers import TestServers

PARTS = """
select inhrelid::regclass::text as name, pg_get_expr(relpartbound, inhrelid) as bounds,
       relrowsecurity and relforcerowsecurity as is_protected,
       (select count(*) from pg_policy where polrelid = inhrelid) as policies,
       has_table_privilege('mis_app', inhrelid, 'select, insert, update, delete') as is_open
  from pg_inherits join pg_class on pg_class.oid = inhrelid
 where inhparent = 'audit_logs'::regclass order by 1
"""
ROW = "insert into audit_logs (tenant_id, id, kind, action, outcome) values ($1, $2, 'change', 'x', 'y')"


@pytest.fixture
async def urls(test_servers: TestServers) -> DatabaseUrls:
    return await asyncio.to_thread(test_servers.database, "partitions")


def month(after: int) -> datetime:
    """Return the beginning of the month so many months after the present one."""
    now = datetime.now(UTC)
    year, number = divmod(now.year * 12 + now.month - 1 + after, 12)
    return datetime(year, number + 1, 1, tzinfo=UTC)


def an_id(moment: datetime) -> UUID:
    return new_id(int(moment.timestamp() * 1000))


async def a_log(owner: asyncpg.Connection, moments: list[datetime]) -> tuple[UUID, list[UUID]]:
    """Give a new tenant a row at each of the moments."""
    tenant = new_id()
    await owner.execute(
        "insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at) "
        "values ($1, 'T', $2, $2, 'basic', 'active', now(), now(), now())",
        *(tenant, f"t-{tenant.hex}"),
    )
    ids = [an_id(moment) for moment in moments]
    await owner.executemany(ROW, [(tenant, one) for one in ids])
    return tenant, ids


async def drop_partitions(owner: asyncpg.Connection, *, but: datetime | None = None) -> None:
    """Leave the log as it is when nobody has made partitions since the one of `but`."""
    await owner.execute("truncate audit_logs")
    for part in await owner.fetch(PARTS):
        if part["name"] != "audit_logs_default" and (but is None or not part["name"].endswith(f"{but:%Y%m}")):
            await owner.execute(f"drop table {part['name']}")


async def ensured(urls: DatabaseUrls) -> int:
    """Make partitions as the worker does."""
    async with connected(urls.platform) as platform:
        return int(await platform.fetchval("select ensure_audit_partitions(3)"))


async def parts(owner: asyncpg.Connection) -> dict[str, Any]:
    return {row["name"]: row for row in await owner.fetch(PARTS)}


async def homes(owner: asyncpg.Connection, tenant: UUID) -> dict[UUID, str]:
    rows = await owner.fetch(
        "select id, tableoid::regclass::text as home from audit_logs where tenant_id = $1", tenant
    )
    return {row["id"]: table_of(row["home"]) for row in rows}


async def test_a_worker_that_was_away_for_months_closes_the_gap_and_loses_no_row(urls: DatabaseUrls) -> None:
    last = month(-5)
    odd = [datetime(2020, 3, 1, tzinfo=UTC), datetime(2090, 3, 1, tzinfo=UTC)]
    moments = [
        *(last + timedelta(days=3), month(-4), month(-3) + timedelta(days=9), month(-1), datetime.now(UTC)),
        *odd,
    ]
    async with connected(urls.owner) as owner:
        await drop_partitions(owner)
        await owner.execute(
            f"create table audit_logs_{last:%Y%m} partition of audit_logs "
            f"for values from ('{floor(last)}') to ('{floor(month(-4))}')"
        )
        tenant, ids = await a_log(owner, moments)
        whole = "select * from audit_logs where tenant_id = $1 order by id"
        before = await owner.fetch(whole, tenant)
        assert set((await homes(owner, tenant)).values()) == {f"audit_logs_{last:%Y%m}", "audit_logs_default"}
        # The gap is one partition; the three coming months are as always.
        assert await ensured(urls) == 4
        assert (
            await owner.fetch("select * from audit_logs where tenant_id = $1 order by id", tenant) == before
        )
        where = await homes(owner, tenant)
        gap = f"audit_logs_{month(-1):%Y%m}_gap"
        assert [where[one] for one in ids] == [
            *(f"audit_logs_{last:%Y%m}", gap, gap, gap, gap),
            *("audit_logs_default",) * 2,
        ]
        after = await parts(owner)
        assert all(
            part["is_protected"] and part["policies"] == 1
            for name, part in after.items()
            if "_gap" in name or "default" in name
        )
        assert not any(part["is_open"] for part in after.values())
        assert await ensured(urls) == 0
    async with bound(urls.app, tenant) as app:
        assert await app.fetchval("select count(*) from audit_logs") == len(moments)
        await app.execute(ROW, tenant, new_id())
    async with bound(urls.app, new_id()) as stranger:
        assert await stranger.fetchval("select count(*) from audit_logs") == 0


async def test_a_log_without_any_partition_gets_them_around_its_rows(urls: DatabaseUrls) -> None:
    async with connected(urls.owner) as owner:
        await drop_partitions(owner)
        tenant, ids = await a_log(owner, [datetime.now(UTC), month(2) + timedelta(days=1)])
        assert await ensured(urls) == 5
        where = await homes(owner, tenant)
        assert [where[one] for one in ids] == [
            f"audit_logs_{month(0):%Y%m}_gap",
            f"audit_logs_{month(2):%Y%m}_gap",
        ]
        assert await ensured(urls) == 0


async def test_without_rows_in_the_way_each_month_has_its_own(urls: DatabaseUrls) -> None:
    async with connected(urls.owner) as owner:
        await drop_partitions(owner)
        assert await ensured(urls) == 5
        months = {f"audit_logs_{month(step):%Y%m}" for step in range(-1, 4)}
        assert set(await parts(owner)) == months | {"audit_logs_default"}


def floor(moment: datetime) -> UUID:
    """Return the lowest id of `moment`, spelled out as the database spells it."""
    return UUID(f"{int(moment.timestamp() * 1000):012x}70008000000000000000")
