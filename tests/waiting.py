"""Tells when somebody waits for a lock: a test goes on when two stand in each other's way, and not before."""

import asyncio
import os
from typing import Any, Final
from urllib.parse import urlsplit

from tests.citus import VARIABLE
from tests.database import connected
from tests.suite import Suite

_HERE: Final = (
    "select 1 from pg_locks join pg_stat_activity using (pid) "
    "where not granted and datname = current_database() and usename like $1"
)
_ON_NODES: Final = (
    "select 1 from citus_stat_activity "
    "where wait_event_type = 'Lock' and datname = current_database() and usename like $1"
)


async def someone_waits(suite: Suite, task: asyncio.Task[Any], role: str = "%") -> None:
    """Return once a transaction of the role waits for a lock; fail where the task ends before."""
    async with asyncio.timeout(20):
        while not await _waits(suite, role):
            assert not task.done(), task.result()
            await asyncio.sleep(0.02)


async def _waits(suite: Suite, role: str) -> bool:
    cluster = os.environ.get(VARIABLE)
    if cluster is None:
        async with suite.tenancy("auth").database.system_transaction() as system:
            return bool(await system.fetch(_HERE, role))
    path = urlsplit(str(suite.settings.database_url)).path
    async with connected(urlsplit(cluster)._replace(path=path).geturl()) as superuser:
        return bool(await superuser.fetch(_ON_NODES, role))
