"""Where each table goes on Citus, read off the models: so a new table needs no list to be kept.

The directory of tenants goes to every node, because each tenant's row refers to it. What belongs to a tenant
is spread by `tenant_id`, all tables alike, so that one tenant's rows lie together on one node. Everything
else stays where it is, on the coordinator (docs/decisions/0003-tables-outside-the-tenant-rule.md).
"""

from functools import cache
from typing import Final

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint, ForeignKeyConstraint

import mis_models
from mis_tenancy.tables import Base, TenantScoped

# Importing the whole package is what fills the metadata.
_METADATA: Final = mis_models.accounts.UserRow.metadata

DIRECTORY: Final = "tenants"
COLUMN: Final = "tenant_id"

_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


@cache
def spread_tables() -> tuple[Table, ...]:
    """Return the tables that are spread by tenant, parents first."""
    scoped = {
        mapper.local_table for mapper in Base.registry.mappers if issubclass(mapper.class_, TenantScoped)
    }
    return tuple(table for table in _METADATA.sorted_tables if table in scoped)


@cache
def spread_names() -> frozenset[str]:
    """Return the names of those tables."""
    return frozenset(table.name for table in spread_tables())


@cache
def coordinator_names() -> frozenset[str]:
    """Return the names of the tables that stay on the coordinator."""
    return frozenset(_METADATA.tables) - spread_names() - {DIRECTORY}


@cache
def keys() -> tuple[ForeignKeyConstraint, ...]:
    """Return the foreign keys of those tables, in the order of the tables."""
    return tuple(
        key
        for table in spread_tables()
        for key in sorted(table.foreign_key_constraints, key=lambda one: str(one.name))
    )


def key_sql(key: ForeignKeyConstraint) -> str:
    """Return the statement that makes a key."""
    return str(AddConstraint(key).compile(dialect=_DIALECT))
