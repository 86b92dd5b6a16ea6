"""A worker that only sends, in a process of its own, so that a test can kill it."""

import asyncio
import sys
from datetime import timedelta

from prometheus_client import CollectorRegistry

from mis_http.outbound.reach import Reach
from mis_tenancy.database import Database
from mis_tenancy.encryption import TenantKeys, Wrapping
from mis_tenancy.settings import MasterKeys
from tenant_service.webhooks.metrics import WebhookMetrics
from tenant_service.webhooks.sending import Sending
from tenant_service.webhooks.transport import Transport


async def main(platform_url: str, application_url: str, master_keys: str) -> None:
    platform, application = Database(platform_url), Database(application_url)
    await platform.start()
    await application.start()
    keys = TenantKeys(Wrapping(MasterKeys.parse(master_keys)))
    reach = Reach(allow_private=True)
    lease = timedelta(seconds=1)
    metrics = WebhookMetrics(CollectorRegistry())
    await Sending(platform, application, keys, reach, Transport(reach), metrics, lease=lease).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
