"""What the database's catalogue says, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Role:
    """A role and what it is a member of; `is_current` marks the one this service is connected as."""

    name: str
    is_current: bool
    is_strong: bool
    owns_tables: bool
    member_of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A permissive policy; `command` is one of `* r a w d`, the conditions are as Postgres shows them."""

    name: str
    command: str
    roles: tuple[str, ...]
    using: str | None
    checked: str | None


@dataclass(frozen=True, slots=True)
class Key:
    """A unique index or a foreign key, by its columns in order; `target` is the table the latter names."""

    name: str
    kind: str
    columns: tuple[str, ...]
    target: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table that names tenants."""

    name: str
    is_enabled: bool
    is_forced: bool
    policies: tuple[Policy, ...]
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer; `detail` says what was looked at, or what is wrong."""

    name: str
    passed: bool
    detail: str
