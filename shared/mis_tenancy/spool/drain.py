"""Moves a spool's records into Postgres, in batches that survive failure.

A batch that fails because Postgres is away is sent again as it is. One that Postgres refuses is halved, first
between tenants, until the refused records stand alone; those are set aside in a file, and the others pass.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from mis_tenancy.records.record import AuditRecord
from mis_tenancy.records.store import insert_records, refuses_rows, refuses_tenant
from mis_tenancy.spool.backlog import Backlog
from mis_tenancy.system_database import SystemDatabase

BATCH: Final = 1000
# Reading so many records keeps the event loop busy for a millisecond or two.
_SLICE: Final = 100
REJECTED_DIRECTORY: Final = "rejected"
# A Postgres that answers nothing for so long is as good as away; the batch is tried again.
_PATIENCE_SECONDS: Final = 15.0
_LONGEST_ODD_LINE: Final = 16_384

_log = structlog.get_logger(__name__)


class Rejects:
    """The file of what cannot be brought into Postgres; a person looks at it.

    Of a record it leaves out where it came from, because the file may outlive the tenant whose people
    they tell of.
    """

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._path = path

    def add(self, records: Sequence[AuditRecord], error: Exception) -> None:
        """Append `records` that Postgres refused for themselves; raise OSError when the disk is full."""
        reason = str(error).partition("\n")[0][:500]
        self._write([{"reason": reason, "record": _without_person(record)} for record in records])
        tenant = str(records[0].tenant_id)
        _log.error("audit_records_refused", reason=reason, records=len(records), tenant=tenant)

    def add_lines(self, lines: Sequence[bytes]) -> None:
        """Append lines of a spool that could not be understood; raise OSError when the disk is full."""
        texts = [line[:_LONGEST_ODD_LINE].decode("utf-8", "replace") for line in lines]
        self._write([{"reason": "not understood", "line": text} for text in texts])
        _log.error("audit_lines_not_understood", lines=len(lines))

    def _write(self, entries: Sequence[dict[str, object]]) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(b"\n".join([*map(msgspec.json.encode, entries), b""]))
        self.count += len(entries)


class Drain:
    """Takes a backlog's records to Postgres, one batch per `step`.

    `moved` counts the records that are in Postgres or set aside.
    """

    def __init__(self, backlog: Backlog, database: SystemDatabase, rejects: Rejects) -> None:
        self.moved = 0
        self._backlog = backlog
        self._database = database
        self._rejects = rejects
        self._pieces: list[list[AuditRecord]] = []

    @property
    def is_done(self) -> bool:
        """Whether everything that was in the backlog at the last step has been moved."""
        return self._backlog.is_empty and not self._pieces

    async def step(self) -> None:
        """Move one batch; raise what the database raised while it is away, and go on from there next time."""
        if not self._pieces:
            await self._take_batch()
            self._keep_odd_lines()
        while self._pieces:
            await self._move(self._pieces[-1])
        self._backlog.settle()

    async def _take_batch(self) -> None:
        """Take about BATCH records, in slices, between which the process's requests get their turn."""
        batch: list[AuditRecord] = []
        # Known from the start, because a cancellation between two slices must not lose what is taken already.
        self._pieces = [batch]
        while len(batch) < BATCH:
            batch += self._backlog.take(_SLICE)
            if self._backlog.is_empty:
                break
            await asyncio.sleep(0)
        self._pieces = [batch[start : start + BATCH] for start in range(0, len(batch), BATCH)]

    def _keep_odd_lines(self) -> None:
        odd = self._backlog.reader.odd_lines
        # A full disk must not stop the records that are in order; these are tried again.
        with suppress(OSError):
            if odd:
                self._rejects.add_lines(odd)
                odd.clear()

    async def _move(self, piece: list[AuditRecord]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await insert_records(self._database, piece)
        except Exception as error:
            if not refuses_rows(error):
                raise
            self._isolate(piece, error)
        else:
            self._pieces.pop()
            self.moved += len(piece)

    def _isolate(self, piece: list[AuditRecord], error: Exception) -> None:
        tenants = sorted({record.tenant_id for record in piece})
        if len(piece) == 1 or (len(tenants) == 1 and refuses_tenant(error)):
            self._rejects.add(piece, error)
            self._pieces.pop()
            self.moved += len(piece)
            return
        if len(tenants) > 1:
            lower = set(tenants[: len(tenants) // 2])
            first = [record for record in piece if record.tenant_id in lower]
            second = [record for record in piece if record.tenant_id not in lower]
        else:
            first, second = piece[: len(piece) // 2], piece[len(piece) // 2 :]
        self._pieces[-1:] = [first, second]


def _without_person(record: AuditRecord) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(replace(record, origin=None))
    return {name: value for name, value in fields.items() if name != "origin"}
