"""The rows of an import, as they come and as they are answered."""

from typing import Any
from uuid import UUID

from pydantic import Field

from mis_http.person_fields import Address, Attributes, Name
from mis_http.schemas import RequestBody, ResponseBody
from mis_tenancy.tenant import Role


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
    """What became of a file; rows before `resumeFrom` are not among them."""

    total: int
    created: int
    failed: int
    rows: list[RowOut]
