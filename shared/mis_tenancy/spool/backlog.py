"""What a drain takes records from: the living end of a process's own spool, or the spool of a dead one."""

from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import structlog

from mis_tenancy.errors import AuditUnavailable
from mis_tenancy.records.record import AuditRecord, Lines
from mis_tenancy.spool.reading import SpoolReader
from mis_tenancy.spool.writing import Spool

# A segment that only open admissions hold is let be until so many newer ones lie behind it.
_SEGMENTS_HELD: Final = 10

_log = structlog.get_logger(__name__)


class Backlog(Protocol):
    """Where a drain takes its records from."""

    reader: SpoolReader

    @property
    def is_empty(self) -> bool:
        """Whether the last `take` left nothing to take."""
        ...

    def take(self, limit: int) -> list[AuditRecord]:
        """Return the next whole records, about `limit` at most."""
        ...

    def settle(self) -> None:
        """Forget what has been taken: it is in Postgres, or set aside."""


class OwnBacklog:
    """The living end of this process's own spool.

    `lost` counts the records whose directory was removed before they were read.
    """

    def __init__(self, spool: Spool) -> None:
        self.reader = SpoolReader(spool.home, spool.lines)
        self.lost = 0
        self._taken = 0
        self._has_moved = False
        self._spool = spool

    def start(self) -> None:
        """Read from the first segment on; the spool has just started and has its directory now."""
        self.reader = SpoolReader(self._spool.home, self._spool.lines)

    @property
    def is_empty(self) -> bool:
        """Whether every line written so far has been read."""
        return self.reader.at_end

    def take(self, limit: int) -> list[AuditRecord]:
        """Return the next whole records, and keep long requests from pinning old segments."""
        # A full disk stops neither reading nor draining, which is what will free it.
        with suppress(AuditUnavailable):
            self._spool.settle()
        self._spool.move_if_lost()
        if self.reader.home != self._spool.home:
            self._move()
        records = self.reader.read(limit)
        self._taken += len(records)
        # Only at the end, and after late outcomes: an admission must not be carried past its unread outcome.
        if self.reader.at_end:
            with suppress(AuditUnavailable):
                self._carry_over()
        self._spool.rotate_if_due()
        return records

    def settle(self) -> None:
        """Delete the segments that are done with."""
        self._spool.discard(self.reader.leave_behind())

    def _move(self) -> None:
        """Read on in the spool's new directory, with what was open in the lost one."""
        known = self._taken + self.lost + len(self.reader.merge)
        self.lost += max(0, self._spool.written_elsewhere - known)
        self.reader = self.reader.moved_to(self._spool.home)
        self._has_moved = True
        _log.error("spool_lost", records=self.lost)

    def _carry_over(self) -> None:
        if self._has_moved:
            # What is open in a lost directory stands nowhere any more.
            self._spool.carry(self.reader.merge.open_in())
            self._has_moved = False
        behind = self.reader.behind()
        tight = self._spool.bytes * 2 > self._spool.limit_bytes
        pinned = behind if tight else behind[:-_SEGMENTS_HELD]
        self._spool.carry(self.reader.merge.open_in(pinned))


class OrphanBacklog:
    """The spool of a process that has died, lock already held: nothing will be added to it."""

    def __init__(self, home: Path, lines: Lines) -> None:
        self.reader = SpoolReader(home, lines)
        self.is_empty = False
        self.home = home

    def take(self, limit: int) -> list[AuditRecord]:
        """Return the next whole records; at the end those that never got an outcome, as `unknown`."""
        records = self.reader.read(limit)
        if self.reader.at_end:
            records += self.reader.merge.give_up()
            self.is_empty = True
        return records

    def settle(self) -> None:
        """Delete the segments that are done with."""
        done = self.reader.leave_behind()
        if self.is_empty:
            done.append(self.reader.position[0])
        for segment in filter(None, done):
            (self.home / segment).unlink(missing_ok=True)
