"""Reads the rows of an archive's file one after another, each bounded, whatever the file holds."""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final

import msgspec

from mis_http.spreadsheets import restored
from tenant_service.exports.data_types.shape import Extract, Holds
from tenant_service.exports.formats import ExportFormat
from tenant_service.imports.errors import ArchiveMalformed

Row = dict[str, Any]
Reader = Callable[[IO[bytes], Extract], Iterator[Row]]

# The largest row of an export holds a value of 64 KiB.
_LARGEST_ROW: Final = 2**20
_CHUNK: Final = 2**16
_SPACE: Final = " \t\r\n"


def rows_in(file: IO[bytes], written_in: ExportFormat, extract: Extract) -> Iterator[Row]:
    """Yield the rows of `file` as JSON would spell them; raise ArchiveMalformed where it is none of these."""
    buffered = io.BufferedReader(file, 2**20)  # type: ignore[type-var]  # a member of a zip file reads into buffers
    try:
        yield from _READERS[written_in](buffered, extract)
    except (
        UnicodeDecodeError,
        csv.Error,
        msgspec.DecodeError,
        json.JSONDecodeError,
        RecursionError,
    ) as error:
        raise ArchiveMalformed(
            f"A file of the archive is not {written_in.value.upper()} in UTF-8."
        ) from error


class _Lines:
    """The lines of a file, those of one row together no longer than a row may be."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = _LARGEST_ROW

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return self.line().decode()

    def line(self) -> bytes:
        line = self._file.readline(self._left + 1)
        if not line:
            raise StopIteration
        self._left -= len(line)
        if self._left < 0:
            raise _too_large()
        return line

    def begin_row(self) -> None:
        self._left = _LARGEST_ROW


def _ndjson_rows(file: IO[bytes], extract: Extract) -> Iterator[Row]:
    decode = msgspec.json.Decoder(Row).decode
    while line := file.readline(_LARGEST_ROW + 1):
        if len(line) > _LARGEST_ROW:
            raise _too_large()
        if line.strip():
            yield decode(line)


def _csv_rows(file: IO[bytes], extract: Extract) -> Iterator[Row]:
    documents = {field.name for field in extract.fields if field.holds is Holds.JSON}
    lines = _Lines(file)
    table = csv.reader(lines, strict=True)
    header = next(table, [])
    if len(set(header)) != len(header):
        raise ArchiveMalformed("A file of the archive has a column twice.")
    for cells in table:
        lines.begin_row()
        if len(cells) != len(header):
            raise ArchiveMalformed("A row of the archive has another number of cells than its header.")
        yield {
            name: _value(cell, is_document=name in documents)
            for name, cell in zip(header, cells, strict=True)
        }


def _value(cell: str, *, is_document: bool) -> Any:
    if cell == "":
        return None
    text = restored(cell)
    return msgspec.json.decode(text) if is_document else text


def _json_rows(file: IO[bytes], extract: Extract) -> Iterator[Row]:
    text = _Text(file)
    text.expect("[")
    if text.next_is("]"):
        text.end()
        return
    while True:
        row = text.document()
        if not isinstance(row, dict):
            raise ArchiveMalformed("A row of the archive is not a JSON object.")
        yield row
        if text.next_is("]"):
            text.end()
            return
        text.expect(",")


class _Text:
    """Text that is read as far as it is needed: JSON documents, and the marks between them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._parse = json.JSONDecoder(parse_constant=_no_number).raw_decode
        self._text = ""
        self._at = 0

    def document(self) -> Any:
        """Return the JSON document that comes next."""
        self._skip_space()
        while True:
            try:
                found, self._at = self._parse(self._text, self._at)
            except json.JSONDecodeError:
                # What is cut off reads like what is wrong; more text tells which it is.
                if not self._more():
                    raise
            else:
                return found

    def next_is(self, mark: str) -> bool:
        """Pass over `mark` and return True where it comes next."""
        self._skip_space()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def expect(self, mark: str) -> None:
        """Pass over `mark`; raise ArchiveMalformed where something else comes."""
        if not self.next_is(mark):
            raise ArchiveMalformed("A file of the archive is not a JSON array.")

    def end(self) -> None:
        """Raise ArchiveMalformed where anything but white space follows."""
        self._skip_space()
        if self._at < len(self._text):
            raise ArchiveMalformed("Something follows the JSON array in a file of the archive.")

    def _skip_space(self) -> None:
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return

    def _more(self) -> bool:
        """Read on, behind what has not been passed over; return False at the end."""
        data = self._file.read(_CHUNK)
        self._text = self._text[self._at :] + self._decoder.decode(data, final=not data)
        self._at = 0
        if len(self._text) > _LARGEST_ROW:
            raise _too_large()
        return bool(data)


def _no_number(name: str) -> Any:
    raise ArchiveMalformed(f"A file of the archive holds {name}, which JSON does not have.")


def _too_large() -> ArchiveMalformed:
    return ArchiveMalformed(f"A row of the archive takes more than {_LARGEST_ROW} bytes.")


_READERS: Final[Mapping[ExportFormat, Reader]] = {
    ExportFormat.JSON: _json_rows,
    ExportFormat.NDJSON: _ndjson_rows,
    ExportFormat.CSV: _csv_rows,
}
