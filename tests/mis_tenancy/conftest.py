"""The database of the doors' tests: two teams' projects, and the doors as the application enters them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.database import Database
from tests.database import CountingProxy, connected
from tests.mis_tenancy.projects import Team, make_tables, make_team
from tests.servers import TestServers


@dataclass(frozen=True)
class Teams:
    """Team A asks, team B must stay out of its sight."""

    a: Team
    b: Team


@pytest.fixture(scope="session")
def door_urls(test_servers: TestServers) -> DatabaseUrls:
    return test_servers.database("doors")


@pytest.fixture(scope="session")
async def teams(door_urls: DatabaseUrls) -> Teams:
    async with connected(door_urls.owner) as connection:
        await make_tables(connection)
        return Teams(await make_team(connection, 3), await make_team(connection, 5))


@pytest.fixture
async def team(door_urls: DatabaseUrls, teams: Teams) -> Team:
    """A team that the test may change."""
    async with connected(door_urls.owner) as connection:
        return await make_team(connection, 2)


@pytest.fixture
async def doors(door_urls: DatabaseUrls, teams: Teams) -> AsyncIterator[Database]:
    """The application's doors, with pools of the test's own."""
    database = Database(door_urls.app, pool_size=4)
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
async def proxied(door_urls: DatabaseUrls, teams: Teams) -> AsyncIterator[tuple[Database, CountingProxy]]:
    """The doors behind a proxy that counts."""
    async with CountingProxy(door_urls.app) as proxy:
        database = Database(proxy.url, pool_size=1)
        await database.start()
        yield database, proxy
        await database.stop()
