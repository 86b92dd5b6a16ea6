"""Rows as bytes: JSON, newline-delimited JSON, or CSV (RFC 4180) in which no cell is run."""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Boolean, DateTime, Text, Uuid

from mis_http.schemas import moment_text
from mis_http.spreadsheets import neutral
from tenant_service.exports.data_types.shape import Extract, Field, Holds

Rows = Sequence[Sequence[Any]]
Convert = Callable[[Any], Any]


class ExportFormat(StrEnum):
    """What the files of an archive are written in; also the end of their names."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


class Writer(ABC):
    """Writes one file of an archive: `begin`, `rows` as often as there are some, `end`."""

    def __init__(self, extract: Extract) -> None:
        self._names = extract.field_names
        self._converters = [self._converter(field) for field in extract.fields]

    def begin(self) -> bytes:
        """Return what stands before the first row."""
        return b""

    @abstractmethod
    def rows(self, rows: Rows) -> bytes:
        """Return some rows."""

    def end(self) -> bytes:
        """Return what stands behind the last row."""
        return b""

    @abstractmethod
    def _converter(self, field: Field) -> Convert:
        """Return what makes a value of the field what the format writes."""

    def _converted(self, row: Sequence[Any]) -> list[Any]:
        return [convert(value) for convert, value in zip(self._converters, row, strict=True)]


class NdjsonWriter(Writer):
    """A line for each row."""

    def __init__(self, extract: Extract) -> None:
        super().__init__(extract)
        self._encode = msgspec.json.Encoder().encode

    def rows(self, rows: Rows) -> bytes:
        """Return the rows' lines."""
        return b"".join(self._object(row) + b"\n" for row in rows)

    def _object(self, row: Sequence[Any]) -> bytes:
        return self._encode(dict(zip(self._names, self._converted(row), strict=True)))

    def _converter(self, field: Field) -> Convert:
        if field.holds is Holds.JSON:
            return _raw
        return _same if field.derive is None else field.derive


class JsonWriter(NdjsonWriter):
    """One array, an object a line, so that it can be read in parts."""

    def __init__(self, extract: Extract) -> None:
        super().__init__(extract)
        self._before = b"\n"

    def begin(self) -> bytes:
        """Return the array's beginning."""
        return b"["

    def rows(self, rows: Rows) -> bytes:
        """Return the rows' objects, separated from those before."""
        if not rows:
            return b""
        written = self._before + b",\n".join(self._object(row) for row in rows)
        self._before = b",\n"
        return written

    def end(self) -> bytes:
        """Return the array's end."""
        return b"\n]\n"


class CsvWriter(Writer):
    """A header and a line for each row; a missing value is an empty cell."""

    def begin(self) -> bytes:
        """Return the header."""
        return self._lines([self._names])

    def rows(self, rows: Rows) -> bytes:
        """Return the rows' lines."""
        return self._lines([self._converted(row) for row in rows])

    def _converter(self, field: Field) -> Convert:
        derive = field.derive
        if derive is not None:
            return lambda value: _cell(derive(value))
        return _CELLS.get(type(field.column.type), _cell)

    @staticmethod
    def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        return text.getvalue().encode()


WRITERS: Final[Mapping[ExportFormat, type[Writer]]] = {
    ExportFormat.JSON: JsonWriter,
    ExportFormat.NDJSON: NdjsonWriter,
    ExportFormat.CSV: CsvWriter,
}


def _same(value: Any) -> Any:
    return value


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())


def _cell(value: Any) -> Any:
    """Return the cell of a value whose type only the value itself tells."""
    if isinstance(value, str):
        return neutral(value)
    if isinstance(value, bool):
        return _truth_cell(value)
    return moment_text(value) if isinstance(value, datetime) else value


def _text_cell(value: str | None) -> str | None:
    return None if value is None else neutral(value)


def _moment_cell(value: datetime | None) -> str | None:
    return None if value is None else moment_text(value)


def _truth_cell(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


# A column's type says once for all its rows what is to be done.
_CELLS: Final[Mapping[type[Any], Convert]] = {
    Text: _text_cell,
    DateTime: _moment_cell,
    Boolean: _truth_cell,
    Uuid: _same,
    BigInteger: _same,
}
