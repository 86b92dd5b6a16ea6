"""The rows of a CSV file: separated by comma, semicolon or tab, as spreadsheets of all countries write it.

A row that breaks the format is that row's own problem, and reading goes on with the next line. Bytes that are
not UTF-8 spoil the cell they stand in.
"""

import csv
from collections.abc import Iterator, Sequence
from typing import IO, Any, Final

import msgspec

from mis_http.spreadsheets import restored
from mis_tenancy.errors import BodyMalformed, ProblemError
from user_service.imports.columns import REQUIRED, check_columns
from user_service.imports.errors import RowMalformed
from user_service.imports.lines import pieces_of

_SEPARATORS: Final = ",;\t"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


def csv_rows(file: IO[bytes]) -> Iterator[dict[str, Any] | ProblemError]:
    """Yield the cells of each row by column, or what is wrong with the row; raise what `check_columns` does.

    An empty cell is a field left out, as a spreadsheet cannot say it otherwise. Raise BodyMalformed for
    UTF-16.
    """
    file.seek(0)
    if file.read(2) in _UTF_16:
        raise BodyMalformed("The file is in UTF-16. Save it as CSV in UTF-8.")
    pieces = (piece.decode("utf-8", "surrogateescape") for piece in pieces_of(file))
    header, separator = _header(next(pieces, ""))
    check_columns(header)
    lines = csv.reader(pieces, delimiter=separator, strict=True)
    while True:
        began = lines.line_num + 2
        try:
            line = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            yield RowMalformed(f"Lines {began} to {lines.line_num + 1} cannot be read as CSV: {error}.")
            continue
        if line:
            yield _fields(line, header, began)


def _header(line: str) -> tuple[Sequence[str], str]:
    """Return the names of the columns and what separates them: whatever makes the needed ones of the line."""
    found = {separator: _names(line, separator) for separator in _SEPARATORS}
    for separator, names in found.items():
        if set(REQUIRED) <= set(names):
            return names, separator
    return found[_SEPARATORS[0]], _SEPARATORS[0]


def _names(line: str, separator: str) -> list[str]:
    try:
        names = next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return []
    return [name.strip().lower() for name in names]


def _fields(line: list[str], header: Sequence[str], number: int) -> dict[str, Any] | ProblemError:
    if len(line) != len(header):
        return RowMalformed(
            f"The header has {len(header)} columns, the row of line {number} has {len(line)}."
        )
    cells = {name: restored(cell) for name, cell in zip(header, line, strict=True) if cell.strip()}
    try:
        "".join(line).encode()
    except UnicodeEncodeError:
        return RowMalformed(f"Line {number} is not in UTF-8.")
    return _with_attributes(cells, number)


def _with_attributes(cells: dict[str, Any], number: int) -> dict[str, Any] | ProblemError:
    """Read the cell of attributes, which is a JSON object."""
    if "attributes" in cells:
        try:
            cells["attributes"] = msgspec.json.decode(cells["attributes"], type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return RowMalformed(f"The attributes of line {number} are not a JSON object.")
    return cells
