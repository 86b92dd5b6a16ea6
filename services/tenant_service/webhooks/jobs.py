"""The background of webhooks: events are passed on and sent without end, old deliveries forgotten hourly."""

from datetime import UTC, datetime, timedelta
from typing import Final

from mis_http.outbound.reach import Reach
from mis_http.service.settings import ServiceSettings
from mis_jobs.jobs import Job
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from mis_tenancy.encryption import TenantKeys, Wrapping
from mis_tenancy.identifiers import floor_id
from mis_tenancy.redis import Redis
from mis_tenancy.settings import MasterKeys
from mis_tenancy.tracing import Tracer
from tenant_service.webhooks import relay_repository as repository
from tenant_service.webhooks.metrics import WebhookMetrics
from tenant_service.webhooks.sending import LANES_AT_ONCE, Sending
from tenant_service.webhooks.transport import Transport

RETENTION: Final = "webhook_retention"
SCHEDULES: Final = [Schedule(RETENTION, timedelta(hours=1))]
KEPT: Final = timedelta(days=30)


def sending_of(
    settings: ServiceSettings,
    platform: Database,
    application: Database,
    redis: Redis | None,
    metrics: WebhookMetrics,
    tracer: Tracer | None,
) -> Sending:
    """Return a worker's sending, which reaches what the settings let it reach."""
    # Enough threads for all receivers at a time, even where a look-up outlives the attempt that asked for it.
    reach = Reach(allow_private=settings.webhook_allow_private, threads=2 * LANES_AT_ONCE)
    keys = TenantKeys(Wrapping(MasterKeys.parse(settings.master_keys)))
    return Sending(platform, application, keys, reach, Transport(reach), metrics, redis, tracer=tracer)


class DeliveryRetention:
    """Forgets old deliveries, as the platform's role, tenant by tenant."""

    def __init__(self, platform: Database) -> None:
        self._platform = platform

    async def run(self, job: Job) -> None:
        """Delete every tenant's deliveries that have been kept long enough."""
        oldest = floor_id(datetime.now(UTC) - KEPT)
        async with self._platform.platform_transaction() as session:
            tenants = await repository.tenants_with_webhooks(session)
        for tenant_id in tenants:
            async with self._platform.transaction(tenant_id) as session:
                await repository.forget_deliveries(session, oldest)
