"""The rows of an import, as they come and as they are answered."""

from typing import Any
from uuid import UUID

import msgspec
from pydantic import Field

from mis_http.problems import bare_problem
from mis_http.schemas import RequestBody, ResponseBody
from mis_tenancy.errors import ProblemError
from mis_tenancy.tenant import Role
from user_service.users.schemas import Address, Attributes, Name


class ImportedUser(RequestBody):
    """One row; there is no password in it."""

    email: Address
    name: Name
    role: Role = Role.MEMBER
    attributes: Attributes = Field(default_factory=dict)


class RowOut(ResponseBody):
    """What became of a row: an `id`, or the `problem` that one request for it would have met."""

    row: int
    ok: bool
    id: UUID | None = None
    problem: dict[str, Any] | None = None


class ImportOut(ResponseBody):
    """What became of a file."""

    total: int
    created: int
    failed: int
    rows: list[RowOut]


class RowResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row's result as it is written; `RowOut` is its schema."""

    row: int
    ok: bool
    id: UUID | None = None
    problem: dict[str, Any] | None = None

    @classmethod
    def refused(cls, row: int, error: ProblemError) -> "RowResult":
        """Return the result of a row that met `error`."""
        return cls(row, False, problem=bare_problem(error))


class ImportResult(msgspec.Struct, frozen=True):
    """A file's result as it is written; `ImportOut` is its schema."""

    total: int
    created: int
    failed: int
    rows: list[RowResult]

    @classmethod
    def of(cls, rows: list[RowResult]) -> "ImportResult":
        """Count the rows."""
        created = sum(row.ok for row in rows)
        return cls(len(rows), created, len(rows) - created, rows)

    def as_json(self) -> bytes:
        """Return the one document."""
        return msgspec.json.encode(self)

    def as_ndjson(self) -> bytes:
        """Return a line for each row."""
        return b"".join(msgspec.json.encode(row) + b"\n" for row in self.rows)
