"""A database of the jobs' own, empty at each test's start."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from mis_tenancy.database import Database
from tests.servers import TestServers


@pytest.fixture
async def platform(test_servers: TestServers) -> AsyncIterator[Database]:
    database = Database(test_servers.database("jobs").platform)
    await database.start()
    async with database.platform_transaction() as session:
        await session.execute(text("delete from jobs"))
        await session.execute(text("delete from outbox"))
    yield database
    await database.stop()
