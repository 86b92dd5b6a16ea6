"""Runs jobs: claims fairly, keeps their leases, retries what fails, and wakes at once when work arrives."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from mis_jobs import repository
from mis_jobs.jobs import CHANNEL, Job
from mis_jobs.schedules import TICK_SECONDS, Schedule, tick
from mis_tenancy.database import Database
from mis_tenancy.redis import Redis

log = structlog.get_logger(__name__)

Handler = Callable[[Job], Awaitable[None]]

_POLL_SECONDS: Final = 0.5
_HEARTBEAT_SECONDS: Final = repository.LEASE.total_seconds() / 3


class Runner:
    """One worker process's share of the work.

    `handlers` maps a job's kind to what runs it; a handler that raises fails the attempt. `slots` jobs run
    at a time, and one slot stays free of any single tenant. `database` is that of the platform role.
    """

    def __init__(
        self,
        database: Database,
        redis: Redis | None,
        handlers: Mapping[str, Handler],
        schedules: list[Schedule],
        *,
        slots: int = 4,
    ) -> None:
        self.worker = f"worker-{secrets.token_hex(6)}"
        self._database = database
        self._redis = redis
        self._handlers = handlers
        self._schedules = schedules
        self._slots = slots
        self._running: dict[asyncio.Task[None], Job] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled; then let the jobs under way go back to the queue for a successor."""
        if self._redis is not None:
            await self._redis.subscribe(CHANNEL, lambda _: self._wake.set())
        clock = asyncio.create_task(self._keep_schedules())
        try:
            while True:
                await self._claim()
                await self._pause()
        finally:
            clock.cancel()
            for task in self._running:
                task.cancel()
            await asyncio.gather(clock, *self._running, return_exceptions=True)

    async def _claim(self) -> None:
        free = self._slots - len(self._running)
        if free <= 0:
            return
        try:
            async with self._database.platform_transaction() as session:
                jobs = await repository.claim(session, self.worker, free, max(1, self._slots - 1))
        except Exception as error:
            log.warning("jobs.claim_failed", error=repr(error))
            return
        for job in jobs:
            task = asyncio.create_task(self._work(job), name=f"job {job.kind}")
            self._running[task] = job
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wake.set()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await self._wake.wait()
        self._wake.clear()

    async def _work(self, job: Job) -> None:
        heartbeat = asyncio.create_task(self._keep_lease(job, asyncio.current_task()))
        try:
            handler = self._handlers.get(job.kind)
            if handler is None:
                raise LookupError(f"No handler runs jobs of kind {job.kind!r}.")
            await handler(job)
        except Exception as error:
            log.warning("job.failed", kind=job.kind, job=str(job.id), attempt=job.attempt, error=repr(error))
            async with self._database.platform_transaction() as session:
                await repository.fail(session, job.id, self.worker, repr(error))
        else:
            async with self._database.platform_transaction() as session:
                await repository.finish(session, job.id, self.worker)
        finally:
            heartbeat.cancel()

    async def _keep_lease(self, job: Job, task: asyncio.Task[None] | None) -> None:
        """Prolong the lease while the job runs; stop the job when another worker has it by now."""
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            with contextlib.suppress(OSError):
                async with self._database.platform_transaction() as session:
                    held = await repository.prolong(session, job.id, self.worker)
                if not held and task is not None:
                    task.cancel()
                    return

    async def _keep_schedules(self) -> None:
        while True:
            try:
                async with self._database.platform_transaction() as session:
                    await repository.reclaim(session)
                    if await tick(session, self._schedules):
                        self._wake.set()
            except Exception as error:
                log.warning("jobs.tick_failed", error=repr(error))
            await asyncio.sleep(TICK_SECONDS)
