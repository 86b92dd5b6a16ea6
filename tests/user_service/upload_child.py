"""Receives one upload in a process of its own, so that a test can kill it."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from multiprocessing.connection import Connection
from typing import Final
from uuid import UUID

from mis_accounts.reservations import Reservation
from mis_http.files.incoming import IncomingFile
from mis_tenancy.configuration import effective
from mis_tenancy.database import Database
from mis_tenancy.plans import GIB, PlanName
from mis_tenancy.storage import Storage
from user_service.media.memory import UploadMemory
from user_service.media.uploads import _Upload

MIB: Final = 2**20


def run(told: dict[str, str], telling: Connection) -> None:
    """Receive `told["mib"]` MiB of a file that never ends, say so, and wait to be killed."""
    asyncio.run(_run(told, telling))


async def _run(told: dict[str, str], telling: Connection) -> None:
    database = Database(told["database_url"])
    await database.start()
    storage, tenant_id = Storage(told["storage_url"]), UUID(told["tenant"])

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(int(told["mib"])):
            yield b"x" * MIB
        telling.send("received")
        await asyncio.Event().wait()

    upload = _Upload(
        IncomingFile("endless.bin", None, None, False, pieces()), effective(PlanName.PREMIUM, {})
    )
    reservation = Reservation(database, tenant_id, upload.id)
    await upload.store(storage.of(tenant_id), reservation, partial(UploadMemory(GIB).hold, tenant_id))
