"""A database of these tests' own, with a row of each of two tenants in every tenant table."""

from dataclasses import dataclass

import pytest

from mis_cli.embedded import DatabaseUrls
from tests.database import Seeded, seed_tenant
from tests.isolation.world import World, make_world
from tests.servers import TestServers
from tests.suite import Suite


@dataclass(frozen=True)
class Pair:
    """Tenant A asks, tenant B must stay out of its sight."""

    a: Seeded
    b: Seeded


@pytest.fixture(scope="session")
def urls(test_servers: TestServers) -> DatabaseUrls:
    return test_servers.database("isolation")


@pytest.fixture(scope="session")
async def pair(urls: DatabaseUrls) -> Pair:
    return Pair(await seed_tenant(urls.owner), await seed_tenant(urls.owner))


@pytest.fixture(scope="session")
async def world(suite: Suite) -> World:
    """The tenants of the isolation matrix, on the real suite."""
    return await make_world(suite)
