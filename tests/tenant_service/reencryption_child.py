"""A worker that finishes one rotation in a process of its own, so that a test can kill it."""

import asyncio
import sys
from uuid import UUID

from mis_tenancy.database import Database
from mis_tenancy.encryption import TenantKeys, Wrapping
from mis_tenancy.settings import MasterKeys
from tenant_service.encryption_keys.reencryption import Reencryption


async def main(url: str, tenant_id: str, master_keys: str) -> None:
    database = Database(url)
    await database.start()
    keys = TenantKeys(Wrapping(MasterKeys.parse(master_keys)))
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await Reencryption(database, keys, grace=0.0).finish(UUID(tenant_id))
    await database.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
