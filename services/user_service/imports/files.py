"""Reads the rows of an import file, CSV (RFC 4180) or NDJSON, one after another.

What makes the whole file unusable is raised; what is wrong with one row is that row's own problem.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from io import TextIOWrapper
from typing import IO, Any, Final

import msgspec

from mis_tenancy.errors import BodyMalformed, ProblemError, ValidationFailed

MOST_ROWS: Final = 10_000
_REQUIRED: Final = ("email", "name")
_COLUMNS: Final = (*_REQUIRED, "role")
_PASSWORDS: Final = frozenset({"password", "passwordhash", "password_hash"})


class Format(Enum):
    """What an import file is written in."""

    CSV = "csv"
    NDJSON = "ndjson"


class RowMalformed(ProblemError):
    """The row cannot be read as its file's format says."""

    status = 422
    code = "row_malformed"
    detail = "This row is not what the file's format says."


@dataclass(frozen=True, slots=True)
class Row:
    """A row, counted from 1 without the header: its fields, or why it has none."""

    number: int
    fields: dict[str, Any] | None = None
    problem: ProblemError | None = None


def rows_of(file: IO[bytes], written_in: Format) -> Iterator[Row]:
    """Yield the rows of `file`.

    Raise BodyMalformed where it is not UTF-8 text of that format, and ValidationFailed for columns that do
    not fit, for passwords, and for more rows than one request takes.
    """
    text = TextIOWrapper(file, encoding="utf-8-sig", newline="")
    read = _csv_rows if written_in is Format.CSV else _ndjson_rows
    try:
        for row in read(text):
            if row.number > MOST_ROWS:
                raise ValidationFailed([_unfit("file", "too_many_rows", f"takes at most {MOST_ROWS} rows")])
            yield row
    except (UnicodeDecodeError, csv.Error) as error:
        raise BodyMalformed(f"The file is not {written_in.value.upper()} in UTF-8.") from error
    finally:
        # The file stays open: it belongs to who opened it.
        text.detach()


def _csv_rows(text: TextIOWrapper) -> Iterator[Row]:
    lines = csv.reader(text, strict=True)
    header = [name.strip().lower() for name in next(lines, [])]
    _check_columns(header)
    cells = (line for line in lines if line)
    for number, line in enumerate(cells, start=1):
        if len(line) != len(header):
            found = f"The header has {len(header)} columns, this row {len(line)}."
            yield Row(number, problem=RowMalformed(found))
            continue
        # An empty cell is a field left out: a spreadsheet cannot say it otherwise.
        yield Row(number, {name: cell for name, cell in zip(header, line, strict=True) if cell.strip()})


def _ndjson_rows(text: TextIOWrapper) -> Iterator[Row]:
    lines = (line for line in text if line.strip())
    for number, line in enumerate(lines, start=1):
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            yield Row(number, problem=RowMalformed("The line is not a JSON object."))
            continue
        _refuse_passwords(fields)
        yield Row(number, fields)


def _check_columns(header: Sequence[str]) -> None:
    _refuse_passwords(header)
    unfit = [
        _unfit(name, "column_missing", "is a column the file needs")
        for name in _REQUIRED
        if name not in header
    ]
    unfit += [
        _unfit(name or "file", "column_unknown", f"is not a column; the columns are {', '.join(_COLUMNS)}")
        for name in header
        if name not in _COLUMNS
    ]
    unfit += [_unfit(name, "column_twice", "stands twice") for name in _COLUMNS if header.count(name) > 1]
    if unfit:
        raise ValidationFailed(unfit)


def _refuse_passwords(names: Any) -> None:
    """Refuse the file: passwords in it would lie in mail boxes and downloads long after the import."""
    for name in names:
        if name.lower() in _PASSWORDS:
            told = "is not imported; users without one set it by the forgotten-password mail"
            raise ValidationFailed([_unfit(name, "password_column", told)])


def _unfit(field: str, code: str, message: str) -> dict[str, str]:
    return {"field": field, "code": code, "message": message}
