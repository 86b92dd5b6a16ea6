"""What a worker's jobs stand on: its databases, Redis, the object store and the keys, opened once for all."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from mis_http.service.settings import ServiceSettings
from mis_http.service.tracing import tracer_of
from mis_jobs.metrics import JobMetrics
from mis_jobs.runner import SLOTS
from mis_tenancy.database import Database
from mis_tenancy.encryption import TenantKeys, Wrapping
from mis_tenancy.origins.actor_keys import ActorKeys
from mis_tenancy.redis import Redis
from mis_tenancy.replicas.positions import Positions
from mis_tenancy.settings import MasterKeys
from mis_tenancy.storage import Storage
from mis_tenancy.tracing import Tracer
from tenant_service.health.jobs import CONNECTIONS as PROBING


@dataclass(frozen=True, slots=True)
class Parts:
    """One worker's parts.

    `platform` is the platform role's database. The others are the application role's, as what a job does
    inside a tenant it does as the services do: `application` for jobs, `snapshots` for exports, which hold a
    connection for as long as they take, and `probing` for probes, which come by the thousand.
    """

    settings: ServiceSettings
    master_keys: MasterKeys
    platform: Database
    application: Database
    snapshots: Database
    probing: Database
    redis: Redis | None
    storage: Storage
    metrics: JobMetrics
    tracer: Tracer | None

    @property
    def wrapping(self) -> Wrapping:
        """What tenants' keys are wrapped by."""
        return Wrapping(self.master_keys)

    @property
    def tenant_keys(self) -> TenantKeys:
        """Access to the keys of tenants, with a cache of its own."""
        return TenantKeys(self.wrapping)

    @property
    def registry(self) -> CollectorRegistry:
        """Where metrics of every kind of job are shown."""
        return self.metrics.registry


@asynccontextmanager
async def opened(settings: ServiceSettings) -> AsyncIterator[Parts]:
    """Yield the parts, connected; they are closed in the opposite order."""
    master_keys = MasterKeys.parse(settings.master_keys)
    actor_keys = ActorKeys(Wrapping(master_keys))
    # A job may hold a connection for as long as it runs, and the runner's own statements cannot wait for one.
    platform = Database(settings.platform_database_url or "", pool_size=SLOTS + 4, actor_keys=actor_keys)
    application, snapshots, probing = (
        Database(settings.database_url, pool_size=size, actor_keys=actor_keys)
        for size in (SLOTS, SLOTS, PROBING)
    )
    redis = Redis(settings.redis_url, 1.0) if settings.redis_url else None
    tracer = tracer_of(settings, "worker")
    # Only where services read from a replica does it matter how far a job has written.
    positions = Positions(redis) if redis is not None and settings.replica_database_url else None
    async with AsyncExitStack() as stack:
        if tracer is not None:
            stack.push_async_callback(tracer.stop)
        for database in (platform, application, snapshots, probing):
            database.on_wake = redis.wake if redis is not None else None
            if tracer is not None:
                tracer.watch(database)
            database.on_write = positions.note if positions is not None else None
            await database.start()
            stack.push_async_callback(database.stop)
        if redis is not None:
            await redis.start()
            stack.push_async_callback(redis.stop)
        if positions is not None:
            stack.push_async_callback(positions.stop)
        yield Parts(
            settings,
            master_keys,
            platform,
            application,
            snapshots,
            probing,
            redis,
            settings.storage(),
            JobMetrics(),
            tracer,
        )
