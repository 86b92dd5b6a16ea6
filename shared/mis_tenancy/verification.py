"""Verifies isolation where it counts, in the database and in the models: at every start, and in tests.

Policies hold what they are there for. A table that was forgotten has none, and the session's own criteria
would hide that until the first statement that goes past them; so it is looked for, and not waited for.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.orm import DeclarativeBase

from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.isolation import catalogue, rules
from mis_tenancy.isolation.facts import Check
from mis_tenancy.isolation.models import loose_tables, scoped_tables
from mis_tenancy.settings import SettingsError

# What is wrong is named in full up to here; a database with more faults than that is broken as a whole.
_MOST_NAMED: Final = 20
_SUITES: Final = ("public",)
_ADVICE: Final = {
    "roles": "Connect as mis_app (infrastructure/database/roles.sql).",
    "row_level_security": "alter table … enable row level security, force row level security.",
    "policies": "One for mis_app that compares tenant_id, one for mis_owner alone, and no other.",
    "composite_keys": "The primary key begins with tenant_id; every unique and foreign key contains it.",
    "privileges": "Revoke it; a view wants security_invoker, and a table of everybody's a place in `shared`.",
}


async def database_checks(
    database: Database,
    tenant_id: UUID,
    schemas: Sequence[str] = _SUITES,
    everybodys: Collection[str] = (),
) -> list[Check]:
    """Return what the database says of the schemas as the role of `database`, asked as `tenant_id`.

    That may be nobody's. `everybodys` are tables without a tenant that the application may read.
    """
    async with database.transaction(tenant_id) as session:
        roles = await catalogue.roles(session)
        tables = await catalogue.tables(session, schemas)
        excess = await catalogue.excess_privileges(session, schemas, everybodys)
        readable = await catalogue.readable_tables(session, schemas)
        of_others = await catalogue.tables_showing_others(session, readable, tenant_id)
    # Nobody has this id, so nothing may be visible under it.
    async with database.transaction(new_id()) as session:
        of_nobody = await catalogue.tables_showing_any(session, readable)
    many = len(tables)
    held = f"{many} tables are enabled and forced."
    return [
        check("roles", rules.strong_roles(roles), "No role of the application's is strong."),
        check("row_level_security", rules.open_tables(tables), held),
        check("policies", rules.wrong_policies(tables), f"{many} tables have exactly their policies."),
        check("composite_keys", rules.wrong_keys(tables, everybodys), "Every key contains the tenant."),
        check("privileges", excess, "Nobody may do more than the application needs."),
        check("rows_of_others", _visible(of_others), f"0 rows in {len(readable)} tables."),
        check("rows_of_nobody", _visible(of_nobody), f"0 rows in {len(readable)} tables."),
    ]


async def isolation_faults(
    database: Database, base: type[DeclarativeBase], *, shared: Collection[str] = ()
) -> list[str]:
    """Return, in words, all by which rows of one tenant could reach another; nothing where all is well.

    It looks at the tables of `base` and at everything else in their schemas, as the role of `database`, which
    must be migrated. `shared` are the tables that have no tenant on purpose, such as a list of countries.
    """
    names = [table.fullname for table in base.metadata.tables.values()]
    async with database.transaction(new_id()) as session:
        places = await catalogue.places(session, names)
    everybodys = {places[name][1] for name in shared if name in places}
    found = [f"models: {text}. Derive it, or name it in `shared`." for text in loose_tables(base, shared)]
    found += [f"models: {name} is not in this database. Migrate it." for name in names if name not in places]
    schemas = sorted({schema for schema, _ in places.values()})
    checks = await database_checks(database, new_id(), schemas, everybodys)
    found += [
        f"{one.name}: {one.detail}. {_ADVICE.get(one.name, '')}".rstrip() for one in checks if not one.passed
    ]
    return found


async def refuse_open_tables(database: Database) -> None:
    """Raise SettingsError where a table of the models lets this role see rows of every tenant.

    A table that is not there yet, because its migration comes later, lets nobody see anything.
    """
    names = sorted({table.fullname for table in scoped_tables()})
    async with database.system_transaction() as system:
        found = await system.fetch(catalogue.OPEN_TABLES, names)
    if found:
        raise SettingsError(
            f"Row-level security does not hold the role {database.role!r} in these tables: "
            f"{', '.join(one['name'] for one in found)}. Enable and force it there, with one policy that "
            "compares tenant_id with app.tenant_id; a policy that names no role holds for everybody "
            "(docs/adopt-the-middleware.md)."
        )


def check(name: str, wrong: Sequence[str], held: str) -> Check:
    """Return the answer to one question: what is wrong, or else that it `held`."""
    if not wrong:
        return Check(name, True, held)
    more = f" … and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
    return Check(name, False, "; ".join(wrong[:_MOST_NAMED]) + more)


def _visible(tables: Sequence[str]) -> list[str]:
    return [f"{table} shows rows of other tenants" for table in tables]
