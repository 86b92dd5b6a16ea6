"""A process's append-only spool: what was answered stays on record when the process or Postgres dies.

Each line is one `write(2)` to a file opened for appending. The kernel has it when the call returns, so it
survives the process; it is not flushed to the disk, whose death the promise excludes. A spool belongs to one
event loop's thread and takes no locks.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from mis_tenancy.errors import AuditUnavailable
from mis_tenancy.records.record import OUTCOME_BYTES, AuditRecord, Lines, Outcome
from mis_tenancy.settings import SettingsError
from mis_tenancy.spool.lock import SpoolLock

SEGMENT_SUFFIX: Final = ".log"
_SERVICE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SPOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+-\d+-[0-9a-f]{32}")
_CARRIED_AT_ONCE: Final = 128


def spool_directories(directory: Path) -> list[Path]:
    """Return the spool directories under MIS_SPOOL_DIR, whoever owns them."""
    with os.scandir(directory) as entries:
        return sorted(Path(entry.path) for entry in entries if _SPOOL_NAME.fullmatch(entry.name))


class Spool:
    """The writing side of one process's spool.

    `lines` spells its records. `limit_bytes` bounds its files; `segment_bytes` and `segment_seconds` say when
    a new file begins, so that drained ones can go. `bytes` is what lies on the disk, `written` the number of
    records so far, `written_elsewhere` of those whose directory was lost, and `open` that of the admissions
    without an outcome.
    """

    def __init__(
        self,
        directory: Path,
        limit_bytes: int,
        service: str,
        lines: Lines,
        *,
        segment_bytes: int = 4 * 2**20,
        segment_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _SERVICE.fullmatch(service):
            raise SettingsError(f"The service name {service!r} names files: use letters, digits, _ . -")
        self.directory = directory
        self.home = directory
        self.limit_bytes = limit_bytes
        self.lines = lines
        self.bytes = 0
        self.written = 0
        self.written_elsewhere = 0
        self.open = 0
        self.service = service
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._clock = clock
        self._lock: SpoolLock | None = None
        self._sizes: dict[str, int] = {}
        self._segment = ""
        self._descriptor = -1
        self._began = 0.0
        self._torn = False
        self._owed: list[bytes] = []

    def start(self) -> None:
        """Make the directory and its lock; raise SettingsError where MIS_SPOOL_DIR cannot be written to."""
        try:
            self._find_home()
            self._begin_segment()
        except OSError as error:
            raise SettingsError(
                f"MIS_SPOOL_DIR: {self.directory} is not writable: {error.strerror}."
            ) from error

    def admit(self, record: AuditRecord) -> None:
        """Write that a request was let in; raise AuditUnavailable, with nothing written, on failure."""
        self._append_within_limit(self.lines.admission(record), OUTCOME_BYTES)
        self.open += 1
        self.written += 1

    def note(self, record: AuditRecord) -> None:
        """Write a record that is complete already; raise AuditUnavailable when that cannot be."""
        self._append_within_limit(self.lines.note(record), 0)
        self.written += 1

    def finish(
        self,
        identifier: UUID,
        status: int | None,
        outcome: str,
        duration_us: int,
        feature: str | None = None,
    ) -> None:
        """Write how an admitted request ended.

        The limit does not apply, as `admit` has kept room. Raise AuditUnavailable when the disk itself is
        full; the line is then kept in memory and `settle` tries again.
        """
        line = self.lines.outcome(Outcome(identifier, status, outcome, duration_us, feature))
        self.open = max(0, self.open - 1)
        try:
            self._append(line)
        except AuditUnavailable:
            self._owed.append(line)
            raise

    @property
    def owes(self) -> bool:
        """Whether outcomes wait in memory for a disk that was full."""
        return bool(self._owed)

    @property
    def position(self) -> tuple[str, int]:
        """Where the next line will stand: segment and offset."""
        return self._segment, self._sizes.get(self._segment, 0)

    def settle(self) -> None:
        """Write the outcomes that a full disk refused; raise AuditUnavailable while it still does."""
        while self._owed:
            self._append(self._owed[0])
            del self._owed[0]

    def carry(self, open_admissions: Sequence[AuditRecord]) -> None:
        """Write admissions once more, so that the segments they stand in can go.

        The limit does not apply, because this frees more than it takes. Raise AuditUnavailable when the disk
        is full.
        """
        for start in range(0, len(open_admissions), _CARRIED_AT_ONCE):
            some = open_admissions[start : start + _CARRIED_AT_ONCE]
            self._append(b"".join(map(self.lines.admission, some)))

    def move_if_lost(self) -> None:
        """Go on in a new directory where somebody has removed this one, or its disk came back empty.

        What stood in it and was not read is lost; what comes from now on is not.
        """
        # Failing is no harm here: the next line tries again, and reports it.
        with suppress(OSError):
            if self._is_lost:
                self._begin_segment()

    def rotate_if_due(self) -> None:
        """Begin a new segment when the present one has lines in it and is old or large enough."""
        if self._descriptor >= 0 and self._sizes[self._segment] and self._is_due():
            # Failing is no harm here: the next line tries again, and reports it.
            with suppress(OSError):
                self._begin_segment()

    def discard(self, segments: Iterable[str]) -> None:
        """Delete segments all of whose records are in Postgres."""
        for segment in segments:
            (self.home / segment).unlink(missing_ok=True)
            self.bytes -= self._sizes.pop(segment, 0)

    def close(self, *, drained: bool) -> None:
        """Take no more lines; delete the directory when it is `drained`, else leave it to a successor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._lock is not None:
            if drained:
                self.discard(list(self._sizes))
                self._lock.remove()
            else:
                self._lock.release()
            self._lock = None

    def _append_within_limit(self, line: bytes, room: int) -> None:
        if self.bytes + len(line) + room + self.open * OUTCOME_BYTES > self.limit_bytes:
            raise AuditUnavailable
        self._append(line)

    def _append(self, line: bytes) -> None:
        """Write whole lines in one call; on failure raise AuditUnavailable, with none of them in the file."""
        if self._descriptor < 0:
            raise AuditUnavailable
        try:
            if self._torn or self._is_due():
                self._begin_segment()
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise AuditUnavailable from error
        if written != len(line):
            self._take_back()
            raise AuditUnavailable
        self.bytes += written
        self._sizes[self._segment] += written

    def _is_due(self) -> bool:
        if self._sizes[self._segment] >= self._segment_bytes:
            return True
        return self._clock() - self._began >= self._segment_seconds

    @property
    def _is_lost(self) -> bool:
        return self._lock is not None and not self._lock.is_in_place

    def _find_home(self) -> None:
        """Make a directory and its lock."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = None
        while lock is None:
            # An adopter can be quicker than we are, and remove the directory it takes for an orphan.
            home = self.directory / f"{self.service}-{os.getpid()}-{uuid4().hex}"
            home.mkdir(mode=0o700)
            lock = SpoolLock.claim(home)
        if self._lock is not None:
            self._lock.release()
        self.home, self._lock, self._sizes, self.bytes = home, lock, {}, 0
        self.written_elsewhere = self.written

    def _begin_segment(self) -> None:
        if self._is_lost:
            # The open file has no name any more, so nothing may go into it, whatever becomes of the move.
            self._torn = True
            self._find_home()
        number = int(self._segment.removesuffix(SEGMENT_SUFFIX) or 0) + 1
        name = f"{number:010}{SEGMENT_SUFFIX}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(self.home / name, flags, 0o600)
        except OSError:
            if self._torn or self._descriptor < 0:
                raise
            # Out of inodes or descriptors: the present segment still takes lines, which is all that matters
            # now.
            return
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._segment, self._began, self._torn = descriptor, name, self._clock(), False
        self._sizes[name] = 0

    def _take_back(self) -> None:
        """Cut off a line that did not fit whole; where even that fails, the next one begins a new segment."""
        try:
            os.ftruncate(self._descriptor, self._sizes[self._segment])
        except OSError:
            self._torn = True
