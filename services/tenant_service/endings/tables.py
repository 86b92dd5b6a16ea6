"""Which tables a purge empties, and in which order: read from the models, so that none can be forgotten."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Column, Table

import mis_models

# Importing the whole package is what fills the metadata.
_METADATA: Final = mis_models.endings.DeletionCertificateRow.metadata

# What stays of a tenant, and why. A certificate says so, too.
KEPT: Final[Mapping[str, str]] = {
    "tenants": "an id without a name, so that nobody gets it again",
    "tenant_names": "reserved for 90 days, so that nobody is taken for the tenant",
    "revocations": "forgotten after a day, when no token from before can be alive",
    "platform_audit_logs": "what the platform's staff did to the tenant, with the slug it had",
    "deletion_certificates": "the certificate itself",
}
# What of the platform's own stands beside a tenant's rows in tables that are emptied of these.
KEPT_BESIDE: Final[Mapping[str, str]] = {
    "jobs": "the purge's own, by the id, and letters to the platform's staff, sealed; done ones for a week",
}

# Keys that the platform's role must not read are swept by another column, in which rows may be alike.
_SWEPT_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "user_terms": ("user_id",),
    "usage_members": ("last_hour",),
    "usage_member_days": ("last_day",),
    "usage_user_days": ("day",),
}


def purged_tables() -> list[Table]:
    """Return every table with rows of tenants, but those of KEPT: children before their parents."""
    children_first = reversed(_METADATA.sorted_tables)
    return [table for table in children_first if "tenant_id" in table.c and table.name not in KEPT]


def own_tables() -> list[str]:
    """Return the names of all tables of the suite's own."""
    return list(_METADATA.tables)


def key_tables() -> list[Table]:
    """Return the tables that hold keys of tenants, wrapped by a master key."""
    return [table for table in purged_tables() if "wrapped_key" in table.c]


def key_ended(table: Table) -> Column[Any]:
    """Return the column of a key table that says since when there is a row but no key any more."""
    return next(table.c[name] for name in ("retired_at", "erased_at") if name in table.c)


def sweep_key(table: Table) -> list[Column[Any]]:
    """Return the columns that a sweep goes along, a whole tenant's rows where there are none."""
    if any(key.referred_table is table for key in table.foreign_key_constraints):
        # Rows that refer to one another go together, as no order along the key is right.
        return []
    named = _SWEPT_BY.get(table.name, tuple(column.name for column in table.primary_key))
    return [table.c[name] for name in named if name != "tenant_id"]
