"""Reads a spool back: admissions and outcomes, written apart, become whole records again.

Postgres is fed from the files and not from memory, so that an hour's outage costs disk, not memory, and a
successor reads a dead process's spool by the very code that the process used itself.
"""

import os
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from mis_tenancy.records.record import UNKNOWN, AuditRecord, Line, Lines
from mis_tenancy.spool.writing import SEGMENT_SUFFIX

_CHUNK: Final = 256 * 2**10


class Merge:
    """Joins each admission to its outcome; without one it is open, and holds the segment it stands in."""

    def __init__(self) -> None:
        self._open: dict[UUID, tuple[AuditRecord, str]] = {}
        self._held: Counter[str] = Counter()

    def take(self, line: Line, segment: str) -> AuditRecord | None:
        """Return the record that `line`, read from `segment`, completes, if it does.

        An admission that was carried over replaces the earlier copy. An outcome without an admission has been
        told before.
        """
        if line.finish is not None:
            admitted = self._forget(line.finish.id)
            if admitted is None:
                return None
            end = line.finish
            return replace(
                admitted,
                status=end.status,
                outcome=end.outcome,
                duration_us=end.duration_us,
                feature=end.feature,
            )
        if line.admit is not None:
            self._forget(line.admit.id)
            self._open[line.admit.id] = line.admit, segment
            self._held[segment] += 1
        return line.note

    def holds(self, segment: str) -> bool:
        """Return whether an open admission stands in `segment`."""
        return self._held[segment] > 0

    def open_in(self, segments: Sequence[str] | None = None) -> list[AuditRecord]:
        """Return the open admissions that stand in any of `segments`, or all of them."""
        wanted = self._held if segments is None else set(segments)
        return [record for record, segment in self._open.values() if segment in wanted]

    def give_up(self) -> list[AuditRecord]:
        """Close every open admission with the outcome `unknown`, and return them."""
        ended = [replace(record, outcome=UNKNOWN) for record, _ in self._open.values()]
        self._open.clear()
        self._held.clear()
        return ended

    def __len__(self) -> int:
        return len(self._open)

    def _forget(self, identifier: UUID) -> AuditRecord | None:
        admitted = self._open.pop(identifier, None)
        if admitted is None:
            return None
        record, segment = admitted
        self._held[segment] -= 1
        if not self._held[segment]:
            del self._held[segment]
        return record


class SpoolReader:
    """A position in the spool directory `home`, from its first segment on.

    `at_end` says that the last `read` left nothing unread. `damaged` counts what could not be understood: of
    whole lines, which another version may have written, `odd_lines` keeps the text. What a kill tore off at
    the very end is no line: it was never acknowledged, and is passed over.
    """

    def __init__(self, home: Path, lines: Lines) -> None:
        self.merge = Merge()
        self.at_end = False
        self.damaged = 0
        self.odd_lines: list[bytes] = []
        self.position: tuple[str, int] = ("", 0)
        self.home = home
        self._lines = lines
        self._passed: deque[str] = deque()

    def moved_to(self, home: Path) -> "SpoolReader":
        """Return the reader of the directory that took this one's place, with what is open so far."""
        moved = SpoolReader(home, self._lines)
        moved.merge, moved.damaged, moved.odd_lines = self.merge, self.damaged + 1, self.odd_lines
        return moved

    def read(self, limit: int) -> list[AuditRecord]:
        """Return the next records that have become whole, at most `limit`."""
        whole: list[AuditRecord] = []
        self.at_end = False
        while len(whole) < limit:
            chunk = self._next_lines()
            if not chunk:
                self.at_end = True
                break
            self._take(chunk, limit, whole)
        return whole

    def behind(self) -> list[str]:
        """Return the segments that have been read to their end, oldest first, without the one being read."""
        return list(self._passed)

    def leave_behind(self) -> list[str]:
        """Return, once each, the segments that nothing holds any more, and none newer than a held one."""
        left = []
        while self._passed and not self.merge.holds(self._passed[0]):
            left.append(self._passed.popleft())
        return left

    def _take(self, chunk: bytes, limit: int, whole: list[AuditRecord]) -> None:
        segment, offset = self.position
        for raw in chunk.split(b"\n")[:-1]:
            offset += len(raw) + 1
            line = self._lines.parse(raw)
            if line is None:
                self.damaged += 1
                self.odd_lines.append(raw)
            elif (record := self.merge.take(line, segment)) is not None:
                whole.append(record)
                if len(whole) == limit:
                    break
        self.position = segment, offset

    def _next_lines(self) -> bytes:
        """Return unread lines, all complete, moving on to the next segment where this one has none."""
        while True:
            segment, offset = self.position
            unread = self._read_file(segment, offset) if segment else b""
            end = unread.rfind(b"\n") + 1
            if end:
                return unread[:end]
            if len(unread) == _CHUNK:
                # No line of ours is that long: the disk lost what stood here.
                self.damaged += 1
                self.position = segment, offset + _CHUNK
                continue
            following = self._following(segment)
            if following is None:
                return b""
            self.damaged += bool(unread)
            if segment:
                self._passed.append(segment)
            self.position = following, 0

    def _read_file(self, segment: str, offset: int) -> bytes:
        descriptor = os.open(self.home / segment, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, _CHUNK, offset)
        finally:
            os.close(descriptor)

    def _following(self, segment: str) -> str | None:
        names = (name for name in os.listdir(self.home) if name.endswith(SEGMENT_SUFFIX) and name > segment)
        return min(names, default=None)
