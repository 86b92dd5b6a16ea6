"""Reads the rows of an import file, CSV (RFC 4180) or NDJSON, one after another.

What makes the whole file unusable is raised by `examine`, before anything is imported; what is wrong with one
row is that row's own problem. However long a line is, no more of it is held than a row may take.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import IO, Any, Final

import msgspec

from mis_tenancy.errors import ProblemError, ValidationFailed
from user_service.imports.columns import refuse_passwords, unfit
from user_service.imports.csv_rows import csv_rows
from user_service.imports.errors import RowMalformed
from user_service.imports.lines import LONGEST, is_cut, pieces_of

MOST_ROWS: Final = 1_000_000


class Format(Enum):
    """What an import file is written in."""

    CSV = "csv"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True)
class Row:
    """A row, counted from 1 without the header: its fields, or why it has none."""

    number: int
    fields: dict[str, Any] | None = None
    problem: ProblemError | None = None


def examine(file: IO[bytes], written_in: Format) -> None:
    """Read the file once through, for what makes it unusable as a whole.

    Raise BodyMalformed for text in another encoding, and ValidationFailed for columns that do not fit, for
    passwords anywhere, and for more rows than one request takes.
    """
    for row in rows_of(file, written_in):
        if row.number > MOST_ROWS:
            raise ValidationFailed([unfit("file", "too_many_rows", f"takes at most {MOST_ROWS} rows")])
        if row.fields is not None:
            refuse_passwords(row.fields)


def rows_of(file: IO[bytes], written_in: Format) -> Iterator[Row]:
    """Yield the rows of `file` from its beginning."""
    found = csv_rows(file) if written_in is Format.CSV else _objects(file)
    for number, one in enumerate(found, start=1):
        yield Row(number, problem=one) if isinstance(one, ProblemError) else Row(number, one)


def _objects(file: IO[bytes]) -> Iterator[dict[str, Any] | ProblemError]:
    """Yield the object of each line that is not blank, or what is wrong with the line."""
    number, is_rest = 0, False
    for piece in pieces_of(file):
        if not is_rest:
            number += 1
            if not piece.isspace():
                yield _object(piece, number)
        is_rest = is_cut(piece)


def _object(line: bytes, number: int) -> dict[str, Any] | ProblemError:
    if is_cut(line):
        return RowMalformed(f"Line {number} is longer than {LONGEST} bytes.")
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return RowMalformed(f"Line {number} is not a JSON object in UTF-8.")
