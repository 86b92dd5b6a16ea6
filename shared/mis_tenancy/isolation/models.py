"""Judges what models say: mistakes by which an application means another database than it has.

What the catalogue shows as well (policies, keys, privileges) is judged there, as it is what counts.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.orm import DeclarativeBase

from mis_tenancy.isolation.expectations import KEYED_APART, OUT_OF_REACH, SHARED, UNNARROWED
from mis_tenancy.tables import TenantScoped

# The suite's own tables, each of which is what it is on purpose.
_APART: Final = SHARED | OUT_OF_REACH | KEYED_APART | UNNARROWED


def scoped_tables(below: type[Any] = TenantScoped) -> Iterator[Table]:
    """Yield the table of every class in this process that derives from TenantScoped."""
    for one in below.__subclasses__():
        # Of a class that inherits another's table there is none of its own.
        if isinstance(table := vars(one).get("__table__"), Table):
            yield table
        yield from scoped_tables(one)


def loose_tables(base: type[DeclarativeBase], everybodys: Collection[str]) -> list[str]:
    """Return, in words, the tables whose statements no session would narrow to its tenant.

    `everybodys` are the tables that have no tenant on purpose.
    """
    scoped, mapped = set(scoped_tables()), {mapper.local_table for mapper in base.registry.mappers}
    wrong = []
    for table in base.metadata.tables.values():
        if table in scoped or table.fullname in _APART or table.fullname in everybodys:
            continue
        if "tenant_id" not in table.c:
            wrong.append(f"{table.fullname} has no tenant_id, so all tenants share its rows")
        elif table in mapped:
            wrong.append(f"{table.fullname} has a tenant_id, but its class does not derive from TenantScoped")
    return wrong
