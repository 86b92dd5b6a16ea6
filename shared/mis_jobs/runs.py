"""The jobs that one worker has under way: each under its lease, each with one end.

A run that lost its lease is stopped, because another worker may have the job by now; one whose lease cannot
be prolonged in time is treated as lost. What a run did before that moment is done again elsewhere, so
handlers are idempotent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from time import monotonic
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.contextvars import bound_contextvars

from mis_jobs import repository
from mis_jobs.jobs import MOST_ATTEMPTS, Job, PermanentFailure, described
from mis_jobs.metrics import JobMetrics
from mis_tenancy.database import Database
from mis_tenancy.tracing import Span, Tracer, standing_at, trace_id_in

log = structlog.get_logger(__name__)

Handler = Callable[[Job], Awaitable[None]]

_UNKNOWN: Final = "unknown"
_FAILED: Final = frozenset({"retried", "dead", "lost"})
# Seconds between two attempts to write down how a job ended, and that a stopped handler may take to end.
_AGAIN: Final = 1.0
_STOPPING: Final = 5.0


class HandlerMissing(LookupError):
    """The worker knows nothing of the job's kind; a newer one, which is about to take over, may."""


class Runs:
    """The runs of `worker`, which calls `on_free` whenever a slot falls free."""

    def __init__(
        self,
        database: Database,
        worker: str,
        handlers: Mapping[str, Handler],
        burials: Mapping[str, Handler],
        metrics: JobMetrics,
        *,
        tracer: Tracer | None = None,
        lease: timedelta,
        on_free: Callable[[], None],
    ) -> None:
        self._database = database
        self._worker = worker
        self._handlers = handlers
        self._burials = burials
        self._metrics = metrics
        self._tracer = tracer
        self._lease = lease.total_seconds()
        self._on_free = on_free
        self._jobs: dict[asyncio.Task[None], Job] = {}
        # Until when each lease certainly holds, by this process's clock.
        self._held_until: dict[asyncio.Task[None], float] = {}
        self._is_ending = False

    def __len__(self) -> int:
        return len(self._jobs)

    def begin(self, job: Job, claimed_at: float) -> None:
        """Run a job whose claim was asked for at `claimed_at` of the monotonic clock."""
        task = asyncio.create_task(self._run(job), name=f"job {job.kind}")
        self._jobs[task] = job
        self._held_until[task] = claimed_at + self._lease
        task.add_done_callback(self._ended)

    async def prolong(self) -> None:
        """Push all leases out; stop the runs whose job is another worker's by now."""
        asked, runs = monotonic(), dict(self._jobs)
        if not runs:
            return
        ids = [job.id for job in runs.values()]
        async with self._database.platform_transaction() as session:
            held = await repository.prolong(session, ids, self._worker, timedelta(seconds=self._lease))
        for task, job in runs.items():
            if job.id not in held:
                task.cancel()
            elif task in self._held_until:
                self._held_until[task] = asked + self._lease

    async def expire(self) -> None:
        """Stop the runs whose lease could not be prolonged in time: nobody knows whose their jobs are."""
        now = monotonic()
        for task, until in list(self._held_until.items()):
            if until <= now:
                task.cancel()

    async def end(self, patience: float) -> None:
        """Let runs end for `patience` seconds; then stop the others and give their jobs back."""
        if not self._jobs:
            return
        await asyncio.wait(self._jobs, timeout=patience)
        stopped, self._is_ending = dict(self._jobs), True
        if not stopped:
            return
        for task in stopped:
            task.cancel()
        # The job of a handler that does not stop stays its own until the lease runs out.
        await asyncio.wait(stopped, timeout=_STOPPING)
        returned = [job.id for task, job in stopped.items() if task.cancelled()]
        async with self._database.platform_transaction() as session:
            await repository.give_back(session, returned, self._worker)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._jobs[task], self._held_until[task]
        self._on_free()

    async def _run(self, job: Job) -> None:
        started, outcome = monotonic(), "lost"
        kind = job.kind if job.kind in self._handlers else _UNKNOWN
        span = None if self._tracer is None else self._tracer.job(f"job {kind}", job.cause, _traced(job))
        here = job.cause if span is None else span.traceparent
        try:
            with bound_contextvars(**_logged(job, span)), standing_at(here, span):
                outcome = await self._settled(job, await self._failure(job))
        except asyncio.CancelledError:
            outcome = "returned" if self._is_ending else "lost"
            raise
        finally:
            seconds = monotonic() - started
            self._metrics.ran(kind, outcome, seconds)
            log.info("job", **_logged(job, span), outcome=outcome, duration_ms=round(seconds * 1e3, 2))
            if span is not None:
                span.end({"mis.outcome": outcome}, failed=outcome in _FAILED)
                span.leave()

    async def _failure(self, job: Job) -> BaseException | None:
        """Run the job's handler; return what it failed with, if it did."""
        handler = (self._burials if job.is_burial else self._handlers).get(job.kind)
        if handler is None:
            return HandlerMissing()
        try:
            await handler(job)
        except asyncio.CancelledError as error:
            # Where nobody stopped this run, something inside of it broke off: that is a failure like others.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            return error
        except Exception as error:
            return error
        return None

    async def _settled(self, job: Job, failure: BaseException | None) -> str:
        """Write down how the run ended, for as long as the lease lasts; return its outcome."""
        if failure is not None:
            log.warning("jobs.failed", error=described(failure), exc_info=failure)
        while True:
            try:
                async with self._database.platform_transaction() as session:
                    return await self._written(session, job, failure)
            except Exception as error:
                log.warning("jobs.end_not_written", error=repr(error))
                await asyncio.sleep(_AGAIN)

    async def _written(self, session: AsyncSession, job: Job, failure: BaseException | None) -> str:
        if failure is None:
            outcome = "buried" if job.is_burial else "done"
            return outcome if await repository.finish(session, job, self._worker) else "lost"
        for_good = isinstance(failure, PermanentFailure)
        is_over = for_good or job.attempt == MOST_ATTEMPTS
        if is_over and not job.is_burial and job.kind in self._burials:
            given_up = await repository.give_up(session, job, self._worker, described(failure))
            return "dead" if given_up else "lost"
        state = await repository.fail(session, job, self._worker, described(failure), for_good=for_good)
        return {None: "lost", "queued": "retried"}.get(state, "dead")


def _logged(job: Job, span: Span | None) -> dict[str, str | int]:
    """Return what every log line of the run says: whose job it is, its own trace and that of its cause."""
    said: dict[str, str | int] = {"job": str(job.id), "kind": job.kind, "attempt": job.attempt}
    if job.tenant_id is not None:
        said["tenant_id"] = str(job.tenant_id)
    if span is not None:
        said["trace_id"] = trace_id_in(span.traceparent)
    if job.cause is not None:
        said["cause_trace_id"] = trace_id_in(job.cause)
    return said


def _traced(job: Job) -> dict[str, str | int]:
    said: dict[str, str | int] = {"mis.job.id": str(job.id), "mis.job.attempt": job.attempt}
    return said if job.tenant_id is None else said | {"mis.tenant.id": str(job.tenant_id)}
