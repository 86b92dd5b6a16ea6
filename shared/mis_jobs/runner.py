"""Runs jobs: claims them fairly, wakes at once when work arrives, and gives back what it cannot finish."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from time import monotonic
from typing import Final
from uuid import uuid4

import structlog

from mis_jobs import repository
from mis_jobs.jobs import CHANNEL, Job
from mis_jobs.metrics import JobMetrics
from mis_jobs.runs import Handler, Runs
from mis_jobs.schedules import Schedule, tick
from mis_jobs.waking import Wakeup
from mis_tenancy.database import Database
from mis_tenancy.redis import Redis
from mis_tenancy.tracing import Tracer

log = structlog.get_logger(__name__)

SLOTS: Final = 16
# Four tenants with endless jobs must come together before a fifth one has to wait for a job's end. The
# platform has many schedules, some of which take a minute, and none may wait for the others.
_SHARE: Final = repository.Share(per_lane=4, of_platform=8)
_POLL_SECONDS: Final = 0.5
_TICK_SECONDS: Final = 2.0
_EXPIRY_SECONDS: Final = 1.0
_COUNT_SECONDS: Final = 15.0
_SILENCE_SECONDS: Final = 10.0
# Most jobs end within moments; the others are made to be resumed.
_PATIENCE_SECONDS: Final = 3.0


class Runner:
    """One worker process's share of the work.

    `handlers` maps a job's kind to what runs it; a handler that raises fails the attempt. `burials` maps it
    to what tells those who wait for a job that it has been given up, also when its worker died in the last
    attempt. `slots` jobs run at a time, a `share` of one tenant. `database` is that of the platform role.
    """

    def __init__(
        self,
        database: Database,
        redis: Redis | None,
        handlers: Mapping[str, Handler],
        schedules: Sequence[Schedule],
        *,
        burials: Mapping[str, Handler] | None = None,
        slots: int = SLOTS,
        share: repository.Share = _SHARE,
        lease: timedelta = repository.LEASE,
        metrics: JobMetrics | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.worker = f"worker-{uuid4().hex}"
        self.metrics = metrics or JobMetrics()
        self._database = database
        self._schedules = schedules
        self._burials = burials or {}
        self._slots = slots
        self._share = share
        self._lease = lease
        self._wakeup = Wakeup(redis, CHANNEL, _POLL_SECONDS)
        self._runs = Runs(
            database,
            self.worker,
            handlers,
            self._burials,
            self.metrics,
            tracer=tracer,
            lease=lease,
            on_free=self._wakeup.wake,
        )
        self._claimed_at = 0.0
        # Workers start at different places of the round, so that they do not meet at one lane.
        self._after = uuid4()

    @property
    def is_working(self) -> bool:
        """Whether the queue answered lately, or every slot is taken."""
        return len(self._runs) >= self._slots or monotonic() - self._claimed_at < _SILENCE_SECONDS

    async def run(self) -> None:
        """Work until cancelled; then let what is nearly done end, and give the rest back at once."""
        await self._wakeup.start()
        keepers = [
            asyncio.create_task(self._every(seconds, upkeep), name=upkeep.__name__)
            for seconds, upkeep in (
                (self._lease.total_seconds() / 3, self._runs.prolong),
                (_EXPIRY_SECONDS, self._runs.expire),
                (_TICK_SECONDS, self._keep_schedules),
                (_COUNT_SECONDS, self.count),
            )
        ]
        try:
            while True:
                await self._claim()
                await self._wakeup.wait()
        finally:
            await self._runs.end(_PATIENCE_SECONDS)
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)

    async def _claim(self) -> None:
        """Fill the free slots, as far as there is work for them."""
        while (free := self._slots - len(self._runs)) > 0:
            asked = monotonic()
            jobs = await self._settled(await self._claimed(free))
            for job in jobs:
                self._runs.begin(job, asked)
            if not jobs:
                return

    async def _claimed(self, free: int) -> list[Job]:
        try:
            async with self._database.platform_transaction() as session:
                claim = await repository.claim(
                    session, self.worker, free, self._share, self._after, self._lease
                )
        except Exception as error:
            log.warning("jobs.claim_failed", error=repr(error))
            return []
        self._after, self._claimed_at = claim.after, monotonic()
        return claim.jobs

    async def _settled(self, jobs: list[Job]) -> list[Job]:
        """Return `jobs` once their causes can be read; otherwise give them back, to be claimed anew."""
        try:
            if not jobs or await self._database.is_settled():
                return jobs
            log.warning("jobs.causes_unsettled", jobs=len(jobs))
            async with self._database.platform_transaction() as session:
                await repository.give_back(session, [job.id for job in jobs], self.worker)
        except Exception as error:
            # The jobs come back when their leases run out.
            log.warning("jobs.causes_unknown", jobs=len(jobs), error=repr(error))
        return []

    async def _every(self, seconds: float, upkeep: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await upkeep()
            except Exception as error:
                log.warning("jobs.upkeep_failed", upkeep=upkeep.__name__, error=repr(error))
            await asyncio.sleep(seconds)

    async def _keep_schedules(self) -> None:
        async with self._database.platform_transaction() as session:
            freed = await repository.reclaim(session, self._burials)
            started = await tick(session, self._schedules)
        if freed or started:
            self._wakeup.wake()

    async def count(self) -> None:
        """Show in the metrics how the queue stands now."""
        async with self._database.platform_transaction() as session:
            self.metrics.stands(await repository.standing(session))
