"""A relay in a process of its own, so that a test can kill it."""

import asyncio
import sys

from mis_tenancy.database import Database
from tenant_service.webhooks.relay import Relay


async def main(url: str) -> None:
    platform = Database(url)
    await platform.start()
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await Relay(platform, batch=7).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
