"""The worker's composition root: which work there is, and what runs it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from mis_http.service.settings import ServiceSettings
from mis_jobs.runner import Runner
from mis_tenancy.logging import configure_logging
from mis_worker.gathering import accounts, platform, tenants, users
from mis_worker.parts import opened
from mis_worker.serving import serving
from mis_worker.settings import WorkerSettings
from mis_worker.work import joined

log = structlog.get_logger(__name__)


@asynccontextmanager
async def working(settings: ServiceSettings) -> AsyncIterator[Runner]:
    """Run the worker beside whatever the block does."""
    async with opened(settings) as parts:
        found = joined(service.gathered(parts) for service in (platform, tenants, accounts, users))
        runner = Runner(
            parts.platform,
            parts.redis,
            found.handlers,
            found.schedules,
            burials=found.burials,
            metrics=parts.metrics,
            tracer=parts.tracer,
        )
        loops = {"worker": runner.run, **found.loops}
        tasks = [asyncio.create_task(loop(), name=name) for name, loop in loops.items()]
        for task in tasks:
            task.add_done_callback(_tell_of_end)
        try:
            yield runner
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _tell_of_end(task: asyncio.Task[None]) -> None:
    """Say so where a part of the worker, which are all made to go on, has ended by itself."""
    if not task.cancelled():
        log.error("worker.part_ended", part=task.get_name(), exc_info=task.exception())


async def work(settings: WorkerSettings) -> None:
    """Run the worker until SIGTERM or Ctrl-C."""
    configure_logging("worker")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        runner = await stack.enter_async_context(working(settings))
        if settings.worker_port is not None:
            host, port = settings.worker_host, settings.worker_port
            await stack.enter_async_context(serving(runner, host, port))
        await stopped.wait()
