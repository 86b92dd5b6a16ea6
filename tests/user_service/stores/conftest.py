"""The suite on each kind of store: what is promised of files is promised on all of them."""

from collections.abc import AsyncIterator

import pytest

from tests.object_store import bucket
from tests.servers import TestServers
from tests.suite import Suite, running_suite


@pytest.fixture(scope="package", params=["file", "s3"])
async def suite(
    request: pytest.FixtureRequest,
    test_servers: TestServers,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Suite]:
    directory = tmp_path_factory.mktemp("suite")
    if request.param == "file":
        async with running_suite(test_servers, directory) as local:
            yield local
        return
    with bucket() as url:
        async with running_suite(test_servers, directory, storage_url=url) as remote:
            yield remote
