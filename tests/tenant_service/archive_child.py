"""Runs one export or import in a process of its own, so that a test can kill it."""

import asyncio
from multiprocessing.connection import Connection
from uuid import UUID

from mis_tenancy.database import Database
from mis_tenancy.storage import Storage
from tenant_service.exports.running import Exporter
from tenant_service.exports.service import RUN as RUN_EXPORT
from tenant_service.imports.running import ImportRuns


def run(told: dict[str, str], started: Connection) -> None:
    """Do the work that `told` names; say so as soon as it begins."""
    asyncio.run(_run(told, started))


async def _run(told: dict[str, str], started: Connection) -> None:
    database = Database(told["database_url"])
    await database.start()
    storage = Storage(told["storage_url"])
    started.send("started")
    tenant_id, identifier = UUID(told["tenant"]), UUID(told["id"])
    if told["kind"] == RUN_EXPORT:
        await Exporter(database, database, storage).run(tenant_id, identifier)
    else:
        await ImportRuns(database, storage).run(tenant_id, identifier)
    await database.stop()
