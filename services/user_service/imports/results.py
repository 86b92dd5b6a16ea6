"""What became of rows: as it is told, as it is counted, and, of a file that went in whole, as it is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from mis_http.problems import bare_problem
from mis_tenancy.errors import ProblemError

_ID_BYTES: Final = 16
_AT_ONCE: Final = 500


class RowResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one row; `RowOut` is its schema."""

    number: int = msgspec.field(name="row")
    ok: bool
    id: UUID | None = None
    problem: dict[str, Any] | None = None

    @classmethod
    def refused(cls, number: int, error: ProblemError) -> "RowResult":
        """Return the result of a row that met `error`."""
        return cls(number, False, problem=bare_problem(error))

    def document(self) -> dict[str, Any]:
        """Return the result as plain JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


@dataclass(slots=True)
class Tally:
    """How many rows there were, from which to which, and how many of them became no users."""

    total: int = 0
    failed: int = 0
    first: int = 0
    last: int = 0

    def add(self, results: Sequence[RowResult]) -> None:
        """Count some more rows, the next ones of the file."""
        self.first = self.first or results[0].number
        self.last = results[-1].number
        self.total += len(results)
        self.failed += sum(not one.ok for one in results)

    @property
    def created(self) -> int:
        """How many rows became users."""
        return self.total - self.failed

    def changes(self) -> dict[str, Any]:
        """Return what the audit row says of them."""
        counts = {"created": self.created, "failed": self.failed, "rows": [self.first, self.last]}
        return {name: {"old": None, "new": value} for name, value in counts.items()}


@dataclass(slots=True)
class Made:
    """The users of rows that all went in, in sixteen bytes each, because there may be a million."""

    first: int = 0
    ids: bytearray = field(default_factory=bytearray)

    def add(self, results: Sequence[RowResult]) -> None:
        """Keep the ids of some more rows; rows that did not go in end what can be told here."""
        self.first = self.first or results[0].number
        for one in results:
            self.ids += one.id.bytes if one.id is not None else bytes(_ID_BYTES)

    def results(self) -> Iterator[list[RowResult]]:
        """Yield the results again, some at a time."""
        for start in range(0, len(self.ids), _ID_BYTES * _AT_ONCE):
            part = self.ids[start : start + _ID_BYTES * _AT_ONCE]
            number = self.first + start // _ID_BYTES
            yield [
                RowResult(number + place, True, id=UUID(bytes=bytes(one)))
                for place, one in enumerate(_ids_of(part))
            ]


def _ids_of(part: bytearray) -> Iterator[bytearray]:
    return (part[start : start + _ID_BYTES] for start in range(0, len(part), _ID_BYTES))
