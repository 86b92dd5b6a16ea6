"""What an import does, or would do: counted for each data type, with the first conflicts by name."""

from typing import Any, Final
from uuid import UUID

import msgspec

from tenant_service.exports.data_types.shape import DataTypeName
from tenant_service.exports.formats import ExportFormat

MOST_SHOWN: Final = 100

FACTS: Final = "history"
SECRETS: Final = "secrets"


class Conflict(msgspec.Struct, frozen=True, rename="camel"):
    """A row that is left out: its number in its file, what it is about, and the code of a refusal."""

    row: int
    subject: str
    code: str


class Tally(msgspec.Struct, rename="camel"):
    """What becomes of the rows of one data type.

    `create + update + skip + conflicts = total`. `remapped` are users and files that have, or are given,
    another id than in the archive. `left_out` says what is never brought back: `history` or `secrets`.
    """

    total: int = 0
    create: int = 0
    update: int = 0
    skip: int = 0
    conflicts: int = 0
    remapped: int = 0
    left_out: list[str] = []
    first_conflicts: list[Conflict] = []

    def refuse(self, subject: str, code: str) -> None:
        """Count the row that is being looked at as a conflict."""
        self.conflicts += 1
        if len(self.first_conflicts) < MOST_SHOWN:
            self.first_conflicts.append(Conflict(self.total, subject, code))


class Seats(msgspec.Struct, frozen=True, rename="camel"):
    """The tenant's seats, and whether the users that would be created fit; a null limit is none."""

    limit: int | None
    used: int
    requested: int
    fits: bool


class Space(msgspec.Struct, frozen=True, rename="camel"):
    """The tenant's room for files in bytes, and whether new ones would fit; a null limit is none."""

    limit: int | None
    used: int
    requested: int
    fits: bool


class Source(msgspec.Struct, frozen=True, rename="camel"):
    """Which archive it is; `same_tenant` says whether its ids are kept."""

    export_id: UUID
    tenant_id: UUID
    created_at: str
    format: ExportFormat
    same_tenant: bool


class Report(msgspec.Struct, rename="camel"):
    """The whole of it."""

    source: Source
    data_types: dict[DataTypeName, Tally]
    seats: Seats | None = None
    storage: Space | None = None

    def plain(self) -> dict[str, Any]:
        """Return the report as it is stored and shown."""
        document: dict[str, Any] = msgspec.to_builtins(self, str_keys=True)
        return document
