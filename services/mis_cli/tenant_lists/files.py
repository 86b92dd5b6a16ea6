"""Reads the rows of a file of tenants (CSV, RFC 4180) one after another, however large it is."""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Final

from pydantic import ValidationError

from mis_http.problems import field_problem
from mis_tenancy.errors import ProblemError, ValidationFailed
from tenant_service.lifecycle.creation import NewTenant
from tenant_service.lifecycle.schemas import TenantCreate

# A column, and the field of a creation's body that it fills.
COLUMNS: Final = {
    "name": "name",
    "slug": "slug",
    "plan": "plan",
    "subdomain": "subdomain",
    "domain": "domain",
    "max_users": "maxUsers",
    "max_storage": "maxStorage",
    "owner_email": "email",
    "owner_name": "name",
}
_REQUIRED: Final = ("name", "slug")
_LIMITS: Final = frozenset({"max_users", "max_storage"})
_OWNER: Final = frozenset({"owner_email", "owner_name"})
# What a limit without end is called in a file, where an empty cell already means the plan's.
_UNLIMITED: Final = "unlimited"
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")


class FileRefused(ValueError):
    """The whole file cannot be used; the message says why and where."""


@dataclass(frozen=True, slots=True)
class TenantLine:
    """A row, counted from 1 without the header: the tenant it asks for, or why it asks for none."""

    number: int
    slug: str
    new: NewTenant | None = None
    problem: ProblemError | None = None


class TenantFile:
    """An open file of tenants, of `size` bytes; raise FileRefused where its header does not fit.

    `position` tells how far it has been read.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.size = size
        self._file = file
        self._text = TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self._reader = csv.reader(self._text, strict=True)
        with self._refusing():
            self._header = [name.strip().lower() for name in next(self._reader, [])]
        _check(self._header)

    @property
    def has_owners(self) -> bool:
        """Whether rows may name first owners."""
        return "owner_email" in self._header

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return min(self._file.tell(), self.size)

    def lines(self) -> Iterator[TenantLine]:
        """Yield the rows; raise FileRefused where the file is no such CSV in UTF-8."""
        with self._refusing():
            cells = (line for line in self._reader if any(cell.strip() for cell in line))
            for number, line in enumerate(cells, start=1):
                yield _line(number, self._header, line)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            raise FileRefused("The file is not text in UTF-8. Save it as “CSV UTF-8”.") from error
        except csv.Error as error:
            raise FileRefused(f"Line {self._reader.line_num} of the file is no CSV: {error}.") from error


@contextmanager
def open_tenant_file(path: Path) -> Iterator[TenantFile]:
    """Open the file, or raise FileRefused with the columns of one that is no file of tenants."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield TenantFile(file, path.stat().st_size)


def _check(header: list[str]) -> None:
    wrong = [f"{name!r} is no column" for name in header if name not in COLUMNS]
    wrong += [f"{name!r} is missing" for name in _REQUIRED if name not in header]
    wrong += [f"{name!r} stands twice" for name in COLUMNS if header.count(name) > 1]
    if wrong:
        raise FileRefused(
            f"The header does not fit: {', '.join(wrong)}. The columns are {', '.join(COLUMNS)}; "
            f"{' and '.join(_REQUIRED)} are needed."
        )


def _line(number: int, header: list[str], cells: list[str]) -> TenantLine:
    named = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if cell.strip()}
    slug = named.get("slug", "")
    try:
        if len(cells) != len(header):
            found = f"The header has {len(header)} columns, this row {len(cells)}."
            raise ValidationFailed([{"field": "", "code": "row_malformed", "message": found}])
        return TenantLine(number, slug.lower(), new=TenantCreate.model_validate(_body(named)).value())
    except ValidationError as error:
        return TenantLine(
            number, slug, problem=ValidationFailed([field_problem(one) for one in error.errors()])
        )
    except ProblemError as refusal:
        return TenantLine(number, slug, problem=refusal)


def _body(named: dict[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {
        COLUMNS[name]: _limit(cell) if name in _LIMITS else cell
        for name, cell in named.items()
        if name not in _OWNER
    }
    owner = {COLUMNS[name]: cell for name, cell in named.items() if name in _OWNER}
    return body | ({"owner": owner} if owner else {})


def _limit(cell: str) -> int | str | None:
    """Return the limit that a cell says; what is no number stays as it is, for the body's rules to refuse."""
    if cell.lower() == _UNLIMITED:
        return None
    return int(cell) if _NUMBER.fullmatch(cell) else cell
