"""The worker's composition root: which jobs there are, and what runs them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mis_http.settings import ServiceSettings
from mis_jobs.runner import Runner
from mis_tenancy.database import Database
from mis_tenancy.logging import configure_logging
from mis_tenancy.redis import Redis
from mis_worker.retention.jobs import SCHEDULES, Retention
from mis_worker.settings import WorkerSettings


@asynccontextmanager
async def working(settings: ServiceSettings) -> AsyncIterator[Runner]:
    """Run the worker beside whatever the block does."""
    platform = Database(settings.platform_database_url or "", pool_size=4)
    redis = Redis(settings.redis_url, 1.0) if settings.redis_url else None
    await platform.start()
    if redis is not None:
        await redis.start()
    retention = Retention(platform)
    handlers = {"audit_partitions": retention.make_partitions, "retention": retention.forget}
    runner = Runner(platform, redis, handlers, SCHEDULES)
    task = asyncio.create_task(runner.run(), name="worker")
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if redis is not None:
            await redis.stop()
        await platform.stop()


async def work(settings: WorkerSettings) -> None:
    """Run the worker until SIGTERM or Ctrl-C."""
    configure_logging("worker")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with working(settings):
        await stopped.wait()
