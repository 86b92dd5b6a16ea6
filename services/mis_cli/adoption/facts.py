"""What the catalogue says of the tables to adopt, as values."""

from dataclasses import dataclass
from typing import Final

TENANT: Final = "tenant_id"


def quoted(name: str) -> str:
    """Return an identifier as SQL spells it."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Index:
    """An index; `definition` is the statement that makes it, `constraint` the key or unique it carries."""

    name: str
    columns: tuple[str, ...]
    is_primary: bool
    is_unique: bool
    is_valid: bool
    method: str
    definition: str
    constraint: str | None

    @property
    def has_tenant(self) -> bool:
        """Whether the tenant is among its columns."""
        return TENANT in self.columns


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key; `update` and `delete` are Postgres' letters for what follows a change of the parent."""

    name: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    is_parent_here: bool
    is_valid: bool
    update: str
    delete: str
    deferral: str


@dataclass(frozen=True, slots=True)
class Serial:
    """A column that counts, and the sequence that it counts by, quoted; `is_granted` to the application."""

    column: str
    sequence: str
    is_granted: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table and all that its adoption turns on; `pages` is its length.

    `unproven` are the checks that hold for new rows only, as long as nobody has validated them.
    """

    schema: str
    name: str
    kind: str
    owner: str
    is_ours: bool
    pages: int
    columns: dict[str, str]
    has_tenant: bool
    is_tenant_present: bool
    has_default: bool
    has_nulls: bool
    is_granted: bool
    is_purgeable: bool
    is_public: bool
    is_enabled: bool
    is_forced: bool
    policies: tuple[str, ...]
    checks: tuple[str, ...]
    unproven: tuple[str, ...]
    indexes: tuple[Index, ...]
    foreign_keys: tuple[ForeignKey, ...]
    referenced_from: tuple[str, ...]
    serials: tuple[Serial, ...]
    triggers: tuple[str, ...]
    exclusions: tuple[str, ...]

    @property
    def sql(self) -> str:
        """The table's name as SQL spells it."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def foreign_policies(self) -> list[str]:
        """The policies that no adoption made. Permissive ones add up, so each could open what ours close."""
        return [
            name
            for name in self.policies
            if name not in ("owner", "tenant_isolation") and not name.startswith("serving_")
        ]

    @property
    def is_fit(self) -> bool:
        """Whether an adoption can do all that it takes."""
        is_plain = self.kind == "r" and self.columns.get(TENANT, "uuid") == "uuid"
        return is_plain and self.is_ours and not self.foreign_policies

    @property
    def primary(self) -> Index | None:
        """The primary key."""
        return next((index for index in self.indexes if index.is_primary), None)


@dataclass(frozen=True, slots=True)
class View:
    """A view, or a function that runs as its owner: what could show rows past the policies."""

    kind: str
    name: str
    owner: str


@dataclass(frozen=True, slots=True)
class Database:
    """All that is planned from: the role that adopts, the tables, and what stands beside them.

    `is_granted` tells whether the application may look into the schema.
    """

    role: str
    schema: str
    is_granted: bool
    tables: tuple[Table, ...]
    views: tuple[View, ...]
