"""A nursery of workers: each line it reads starts one that purges a tenant, in a process that may be killed.

Workers are forked, so that only the first one has to wait for its imports.
"""

import asyncio
import os
import sys
from datetime import timedelta
from uuid import UUID

from mis_tenancy.database import Database
from mis_tenancy.redis import Redis
from mis_tenancy.settings import MasterKeys
from mis_tenancy.storage import Storage
from tenant_service.endings.certificates import Certifier
from tenant_service.endings.purge import Purge
from tenant_service.endings.tombstone import Tombstones
from tenant_service.endings.traces import Traces


async def work(url: str, redis_url: str, storage_url: str, master_keys: str, tenant_id: str) -> None:
    database, redis = Database(url), Redis(redis_url, 5.0)
    await database.start()
    await redis.start()
    tombstones = Tombstones(Certifier(MasterKeys.parse(master_keys), "http://testserver"))
    traces = Traces(redis, Storage(storage_url))
    purge = Purge(database, traces, tombstones, settling=timedelta(0), rows_at_once=5)
    await purge.run(UUID(tenant_id))
    await redis.stop()
    await database.stop()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    url, redis_url, storage_url, master_keys = sys.argv[1:5]
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            # What a worker logs is not an answer of the nursery's.
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            asyncio.run(work(url, redis_url, storage_url, master_keys, line.strip()))
            os._exit(0)
        say(str(child))
        os.waitpid(child, 0)
        say("over")


if __name__ == "__main__":
    main()
