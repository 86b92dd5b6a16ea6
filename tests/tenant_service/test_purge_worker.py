"""The worker purges by itself, at once or when a grace has run out, and brings nothing back afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import func, select, update

from mis_cli.embedded import DatabaseUrls
from mis_jobs.jobs import enqueue
from mis_jobs.runner import Runner
from mis_models.work import JobRow
from mis_tenancy.tables import TenantRow
from mis_worker.app import working
from tenant_service.endings.jobs import DUE_PURGES
from tests.answers import fine
from tests.purging import TENANTS, delete_now, rows_by_table
from tests.servers import TestServers
from tests.suite import Suite, running_suite


class OwnDatabase(TestServers):
    """The run's servers, whose database for a suite is a further one, because a worker works on all of it."""

    def database(self, name: str | None = None) -> DatabaseUrls:
        return super().database(name or "purge_worker")


async def certified(suite: Suite, tenant_id: UUID) -> None:
    """Return once the tenant's certificate is there."""
    path = f"{TENANTS}/{tenant_id}/deletion-certificate"
    while True:
        if (await suite.client.get(path, headers=suite.operator)).status_code == 200:
            return
        await asyncio.sleep(0.1)


async def run_clockwork(suite: Suite, runner: Runner, names: list[str]) -> None:
    """Let the worker do what its schedules make it do, once, and wait until it has."""
    platform = suite.apps["tenant"].state.platform
    async with platform.platform_transaction() as session:
        ids = [await enqueue(session, name, {}, tenant_id=None) for name in names]
    open_ones = select(func.count(JobRow.id)).where(JobRow.id.in_(ids), JobRow.state != "done")
    while True:
        async with platform.platform_transaction() as session:
            if await session.scalar(open_ones) == 0:
                return
        await asyncio.sleep(0.1)


@asynccontextmanager
async def worked_suite(servers: TestServers, directory: Path) -> AsyncIterator[tuple[Suite, Runner]]:
    own = OwnDatabase(servers.postgres, servers.redis_url, servers.worker)
    async with running_suite(own, directory) as suite, working(suite.settings) as runner:
        yield suite, runner


async def test_the_worker_purges_what_is_due_and_brings_nothing_back(
    test_servers: TestServers, tmp_path: Path
) -> None:
    """Catalogue 119."""
    async with worked_suite(test_servers, tmp_path) as (suite, runner), asyncio.timeout(60):
        now, later, neighbour = [await suite.tenant("custom") for _ in range(3)]
        for tenant in (now, later):
            await suite.user(tenant)
            secret = {"configKey": "mail.key", "configValue": "s", "isEncrypted": True}
            config = f"{TENANTS}/{tenant.id}/config"
            fine(await suite.client.post(config, json=secret, headers=tenant.auth))
        await delete_now(suite, now.id)
        fine(await suite.client.delete(f"{TENANTS}/{later.id}", headers=later.auth), 202)
        platform = suite.apps["tenant"].state.platform
        async with platform.transaction(later.id) as session:
            due = update(TenantRow).where(TenantRow.id == later.id)
            await session.execute(due.values(purge_at=datetime.now(UTC) - timedelta(seconds=1)))
        await run_clockwork(suite, runner, [DUE_PURGES])
        for tenant in (now, later):
            await certified(suite, tenant.id)
        await run_clockwork(suite, runner, [schedule.name for schedule in runner._schedules])
        owner_url = (
            OwnDatabase(test_servers.postgres, test_servers.redis_url, test_servers.worker).database().owner
        )
        for tenant in (now, later):
            assert await rows_by_table(owner_url, tenant.id) == {}
        assert (await rows_by_table(owner_url, neighbour.id))["users"] == 1
