"""A post office for the tests of webhooks: a suite of its own, a worker's sending, and a receiver."""

from collections.abc import AsyncIterator

import pytest

from tests.servers import TestServers
from tests.tenant_service.webhook_rig import Post, running_post


@pytest.fixture(scope="session")
async def post(test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Post]:
    async with running_post(test_servers, tmp_path_factory.mktemp("post")) as post:
        yield post
