"""The recorder: what the middleware tells about requests, on its way through the spool into Postgres.

Telling is synchronous and touches only the local disk's cache; Postgres is fed in the background. So a
request waits for no one, and is not served when it could not be recorded.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog

from mis_tenancy.audit_changes import PERSONAL_FIELDS, record_change
from mis_tenancy.records.record import AuditRecord
from mis_tenancy.spool.adoption import adopt_orphans
from mis_tenancy.spool.backlog import OwnBacklog
from mis_tenancy.spool.drain import BATCH, REJECTED_DIRECTORY, Drain, Rejects
from mis_tenancy.spool.writing import Spool
from mis_tenancy.system_database import SystemDatabase

__all__ = ["PERSONAL_FIELDS", "AuditRecord", "Recorder", "Spool", "record_change"]

_LONGEST_PAUSE: Final = 2.0
_CANCEL_SECONDS: Final = 1.0

Step = Callable[[], Awaitable[None]]

_log = structlog.get_logger(__name__)


class Recorder:
    """Records requests in `spool` and moves the records to `database`.

    A batch leaves every `interval` seconds or when it is full; spools of dead processes are looked for every
    `adopt_every` seconds. `stop` takes `stop_within` seconds at most, and leaves the rest to a successor.
    Stop the recorder before its database.
    """

    def __init__(
        self,
        spool: Spool,
        database: SystemDatabase,
        *,
        interval: float = 1.0,
        adopt_every: float = 5.0,
        stop_within: float = 5.0,
    ) -> None:
        self.adopted = 0
        self.last_error: str | None = None
        self._spool = spool
        self._database = database
        self._interval = interval
        self._adopt_every = adopt_every
        self._stop_within = stop_within
        self._rejects = Rejects(spool.directory / REJECTED_DIRECTORY / f"{spool.service}.jsonl")
        self._backlog = OwnBacklog(spool)
        self._drain = Drain(self._backlog, database, self._rejects)
        self._ready = 0
        self._batch_is_full = asyncio.Event()
        self._turn = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the spool and begin to drain it; raise SettingsError where MIS_SPOOL_DIR is not writable."""
        self._spool.start()
        self._backlog.start()
        self._tasks = [
            asyncio.create_task(self._repeat(self._drain_own, self._wait_for_batch), name="audit drain"),
            asyncio.create_task(self._repeat(self._adopt, self._wait_for_orphans), name="spool adoption"),
        ]

    async def stop(self) -> None:
        """Stop taking turns, move what can be moved in time, and close the spool."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            # Bounded, because a driver can be stuck in its own clean-up when the server hangs.
            await asyncio.wait(self._tasks, timeout=_CANCEL_SECONDS)
        self._tasks = []
        drained = False
        try:
            async with asyncio.timeout(self._stop_within):
                await self.flush()
            drained = self._drain.is_done and not self._backlog.reader.merge and not self._spool.owes
        except Exception as error:
            _log.warning("audit_left_to_successor", pending=self.pending, error=repr(error))
        finally:
            self._spool.close(drained=drained)

    def admit(self, record: AuditRecord) -> None:
        """Write down a request before it runs; raise AuditUnavailable when it must not run."""
        self._spool.admit(record)

    def finish(
        self,
        identifier: UUID,
        status: int | None,
        outcome: str,
        duration_us: int,
        feature: str | None = None,
    ) -> None:
        """Write down how it ended, before its last byte leaves; raise AuditUnavailable when the disk is full.

        The outcome is then kept in memory until the disk takes it.
        """
        self._spool.finish(identifier, status, outcome, duration_us, feature)
        self._count()

    def note(self, record: AuditRecord) -> None:
        """Write down what is complete already, such as a refusal; raise AuditUnavailable if that fails."""
        self._spool.note(record)
        self._count()

    async def flush(self) -> None:
        """Move all that this process has finished so far; raise what the database raises."""
        target = self._spool.position
        async with self._turn:
            while True:
                await self._drain.step()
                if self._backlog.reader.position >= target:
                    return

    @property
    def pending(self) -> int:
        """Records of this process that are not in Postgres yet, open ones included and lost ones not."""
        return self._spool.written - self._drain.moved - self._backlog.lost

    @property
    def open(self) -> int:
        """Admitted requests without an outcome yet."""
        return self._spool.open

    @property
    def spool_bytes(self) -> int:
        """Bytes of this process's spool on the disk."""
        return self._spool.bytes

    @property
    def rejected(self) -> int:
        """Records and lines set aside, because Postgres refused them or they were not understood."""
        return self._rejects.count

    @property
    def damaged(self) -> int:
        """Lines of this process's spool that could not be read back."""
        return self._backlog.reader.damaged

    def _count(self) -> None:
        self._ready += 1
        if self._ready >= BATCH:
            self._batch_is_full.set()

    async def _repeat(self, work: Step, pause: Step) -> None:
        """Do `work` for ever, at growing intervals while it fails: if it ended, the spool would fill up."""
        failed_pause = 0.0
        while True:
            try:
                await work()
                failed_pause = 0.0
                await pause()
            except Exception as error:
                if self.last_error is None:
                    _log.warning("audit_drain_failing", error=repr(error))
                self.last_error = repr(error)
                failed_pause = min(max(failed_pause * 2, self._interval), _LONGEST_PAUSE)
                await asyncio.sleep(failed_pause)

    async def _drain_own(self) -> None:
        self._ready = 0
        self._batch_is_full.clear()
        async with self._turn:
            await self._drain.step()
        self.last_error = None

    async def _wait_for_batch(self) -> None:
        if not self._drain.is_done:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._interval):
                await self._batch_is_full.wait()

    async def _adopt(self) -> None:
        self.adopted += await adopt_orphans(
            self._spool.directory, self._database, self._rejects, self._spool.lines
        )

    async def _wait_for_orphans(self) -> None:
        await asyncio.sleep(self._adopt_every)
