"""Changes a tenant's plan with the tenant closed, in a process of its own, so that a test can kill it."""

import asyncio
import sys
from uuid import UUID

from mis_tenancy.database import Database
from mis_tenancy.plans import PlanName
from tenant_service.plan_migration.downtime import Downtime
from tenant_service.plan_migration.order import Order, Requester


async def main(url: str, tenant_id: str, owner_id: str, settled: str) -> None:
    database = Database(url)
    await database.start()
    sys.stdout.write("started\n")
    sys.stdout.flush()
    order = Order(PlanName.PREMIUM, downtime=True)
    owner = Requester(UUID(owner_id), "member")
    await Downtime(database, settled=float(settled)).migrate(UUID(tenant_id), owner, order)
    await database.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
