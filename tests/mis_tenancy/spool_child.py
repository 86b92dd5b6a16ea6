"""A process for the crash tests: it records requests as fast as it can, says so, and is killed.

Each line it prints stands for a promise: `A <id>` that the admission is written, `F <id> <status>` that the
outcome is. It prints a line only after the call has returned, as a service answers only then.
"""

import asyncio
import os
import random
import sys
from pathlib import Path
from uuid import UUID

from mis_tenancy.audit import AuditRecord, Recorder, Spool
from mis_tenancy.database import Database
from mis_tenancy.origins.sealing import Origin
from tests.mis_tenancy.spool_fixtures import LINES, fresh_keys


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def serve_for_ever(recorder: Recorder, tenants: list[UUID], choice: random.Random) -> None:
    running: list[UUID] = []
    while True:
        record = AuditRecord(
            tenant_id=choice.choice(tenants),
            kind="request",
            action="GET /api/v1/users",
            origin=Origin("192.0.2.1", "x" * choice.randrange(250)),
        )
        recorder.admit(record)
        say("A", record.id)
        running.append(record.id)
        while len(running) > choice.randrange(20):
            identifier = running.pop(choice.randrange(len(running)))
            status = choice.choice([200, 404, 500])
            recorder.finish(identifier, status, f"status {status}", 1)
            say("F", identifier, status)
        if not choice.randrange(50):
            await asyncio.sleep(choice.random() * 0.01)


async def main(directory: str, url: str, seed: str, *tenants: str) -> None:
    database = Database(url, pool_size=2, actor_keys=fresh_keys())
    await database.start()
    spool = Spool(Path(directory), 2**28, "child", LINES, segment_bytes=50_000)
    recorder = Recorder(spool, database, interval=0.01, adopt_every=0.05)
    await recorder.start()
    await serve_for_ever(recorder, [UUID(tenant) for tenant in tenants], random.Random(seed))  # a test's


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
