"""A database of these tests' own, with a row of each of two tenants in every tenant table."""

from dataclasses import dataclass

import pytest

from mis_cli.embedded import DatabaseUrls
from tests.database import Seeded, seed_tenant
from tests.servers import TestServers


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
