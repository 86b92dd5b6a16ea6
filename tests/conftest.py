"""The run's embedded servers, and one real suite (three services behind the gateway) per worker."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

from tests import servers
from tests.chromium import Site, site_of
from tests.isolation.world import World, make_world
from tests.suite import Suite, running_suite


def pytest_addoption(parser: pytest.Parser) -> None:
    servers.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    servers.register(config)
    # No verdict by the time that a busy machine takes.
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")


@pytest.fixture(scope="session")
def test_servers(pytestconfig: pytest.Config) -> servers.TestServers:
    return servers.running_servers(pytestconfig)


@pytest.fixture(scope="session")
async def suite(
    test_servers: servers.TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    async with running_suite(test_servers, tmp_path_factory.mktemp("suite")) as suite:
        yield suite


@pytest.fixture(scope="session")
async def world(suite: Suite) -> World:
    """The tenants of the isolation matrix, on the real suite; a name of theirs can be taken only once."""
    return await make_world(suite)


@pytest.fixture(scope="session")
async def site(suite: Suite) -> AsyncIterator[Site]:
    """The suite behind a real server, with a real browser; skips where the machine has none."""
    async with site_of(suite) as site:
        yield site
