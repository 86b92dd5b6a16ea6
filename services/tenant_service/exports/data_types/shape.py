"""What a data type is made of: tables, each one file of the archive, and their fields.

A type is data and no code: what is read, in which order, and what is shown of it. What is not listed is not
read, so a column that is added later stays out of archives until somebody has thought about it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Text, case, cast, null
from sqlalchemy.orm import InstrumentedAttribute

from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantScoped

Values = Sequence[Any]
Complete = Callable[[TenantSession, Sequence[Values]], Awaitable[Sequence[Values]]]
Column = InstrumentedAttribute[Any] | ColumnElement[Any]


class DataTypeName(StrEnum):
    """The data types as callers name them."""

    USERS = "users"
    MEDIA = "media"
    AUDIT_LOGS = "audit_logs"
    CONFIGURATIONS = "configurations"
    USAGE = "usage"
    INVOICES = "invoices"


class Holds(Enum):
    """How a field's value is written."""

    PLAIN = "plain"
    """A text, number, truth value, id or moment."""
    JSON = "json"
    """The text of a JSON document, which goes into JSON as it is and into a cell as text."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a file's rows; `derive` makes its value of the column's."""

    name: str
    column: Column
    holds: Holds = Holds.PLAIN
    derive: Callable[[Any], Any] | None = None


def json_field(name: str, column: Column, *, secret_where: Column | None = None) -> Field:
    """Return a field of a jsonb column, read as its text; it stays in Postgres where `secret_where` holds."""
    document: Column = cast(column, Text)
    if secret_where is not None:
        document = case((secret_where, null()), else_=document)
    return Field(name, document, Holds.JSON)


@dataclass(frozen=True, slots=True)
class Extract:
    """The rows of one file: from `table`, in the order of `key`, which is unique within a tenant.

    `rows_at_once` bounds what is in memory, so it is smaller where rows may be large. `complete` makes the
    fields' values of those read and of those of the `hidden` columns behind them, where no single column
    holds one.
    """

    name: str
    table: type[TenantScoped]
    key: tuple[InstrumentedAttribute[Any], ...]
    fields: tuple[Field, ...]
    rows_at_once: int = 2_000
    hidden: tuple[Column, ...] = ()
    complete: Complete | None = None
    field_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "field_names", tuple(one.name for one in self.fields))


@dataclass(frozen=True, slots=True)
class DataType:
    """What a caller can ask for by name; the first extract has the type's own name.

    Where it `has_objects`, each row of that extract has one in the store, which stands in the archive too.
    """

    name: DataTypeName
    extracts: tuple[Extract, ...]
    has_objects: bool = False
