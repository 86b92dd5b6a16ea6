"""The worker probes by itself, as the application's role, beside a suite on a database of its own."""

import asyncio
from pathlib import Path

from sqlalchemy import select

from mis_cli.embedded import DatabaseUrls
from mis_models.health import ProbeRow
from mis_worker.app import working
from tests.servers import TestServers
from tests.suite import running_suite


class OwnDatabase(TestServers):
    """The run's servers, whose database for a suite is a further one, because a worker works on all of it."""

    def database(self, name: str | None = None) -> DatabaseUrls:
        return super().database(name or "health_worker")


async def test_a_worker_that_starts_probes_every_active_tenant(
    test_servers: TestServers, tmp_path: Path
) -> None:
    servers = OwnDatabase(test_servers.postgres, test_servers.redis_url, test_servers.worker)
    async with running_suite(servers, tmp_path) as suite:
        tenants = [await suite.tenant("custom") for _ in range(2)]
        async with working(suite.settings), asyncio.timeout(30):
            for tenant in tenants:
                while True:
                    async with suite.database.transaction(tenant.id) as session:
                        found = (await session.scalars(select(ProbeRow))).all()
                    if found:
                        break
                    await asyncio.sleep(0.05)
                assert found[0].details["redis"]["detail"] is None
                assert found[0].status == "healthy"
