"""From the facts to the statements that are missing: expand, fill, contract, protect.

What is done already is not planned again, so a plan that was stopped anywhere goes on by being made anew.
Every statement either takes no lock that readers or writers would notice, or takes it for a moment only:
columns come with a constant default, constraints NOT VALID and are validated beside traffic, indexes
CONCURRENTLY, and keys are swapped for indexes that are there.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mis_cli.adoption.facts import TENANT, Database, ForeignKey, Index, Table, quoted
from mis_tenancy.policies import BOUND

_APPLICATION: Final = "mis_app, mis_platform"
_LONGEST_NAME: Final = 63
_ACTIONS: Final = {"a": "", "r": " restrict", "c": " cascade", "n": " set null", "d": " set default"}


class Phase(StrEnum):
    """What a step is for, in the order in which steps are taken."""

    EXPAND = "expand"
    FILL = "fill"
    INDEX = "index"
    CONTRACT = "contract"
    PROTECT = "protect"


@dataclass(frozen=True, slots=True)
class Step:
    """One statement by itself; with `fills` it is repeated over ranges of the table's `pages`."""

    phase: Phase
    table: str
    sql: str
    fills: bool = False
    pages: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """Whose the present rows become, and the roles that must go on seeing all of them until the switch."""

    tenant_id: str
    keep_serving: tuple[str, ...] = ()


def plan(database: Database, wish: Wish) -> list[Step]:
    """Return the steps that are missing, of all tables phase by phase."""
    fit = [table for table in database.tables if table.is_fit]
    steps: list[Step] = []
    for part in (_expanded, _filled, _indexed, _referring, _swapped, _protected):
        for table in fit:
            steps += part(table, database, wish)
    if not database.is_granted:
        schema = quoted(database.schema)
        steps.append(Step(Phase.PROTECT, "", f"grant usage on schema {schema} to {_APPLICATION}"))
    return steps


def finishing(database: Database) -> list[Step]:
    """Return the steps after the switch: nobody crosses tenants, and new rows are the bound tenant's."""
    steps: list[Step] = []
    for table in database.tables:
        if not (table.is_forced and table.has_tenant):
            continue
        steps += [
            Step(Phase.PROTECT, table.name, f"drop policy {quoted(policy)} on {table.sql}")
            for policy in table.policies
            if policy.startswith("serving_")
        ]
        default = f"alter table {table.sql} alter column {TENANT} set default {BOUND}"
        steps.append(Step(Phase.PROTECT, table.name, default))
    return steps


def _expanded(table: Table, database: Database, wish: Wish) -> Iterator[Step]:
    # A constant default reads back for the rows that are there, without one of them being written.
    default = f"default '{wish.tenant_id}'"
    if not table.has_tenant:
        add = f"alter table {table.sql} add column {TENANT} uuid {default}"
        yield Step(Phase.EXPAND, table.name, add)
    elif not (table.has_default or table.is_forced or table.is_tenant_present):
        # Where every row says whose it is, one that does not must fail, and not become somebody's.
        set_default = f"alter table {table.sql} alter column {TENANT} set {default}"
        yield Step(Phase.EXPAND, table.name, set_default)


def _filled(table: Table, database: Database, wish: Wish) -> Iterator[Step]:
    if table.is_tenant_present:
        return
    if table.has_nulls:
        fill = f"update {table.sql} set {TENANT} = '{wish.tenant_id}' where {TENANT} is null"  # noqa: S608
        yield Step(Phase.FILL, table.name, fill, fills=True, pages=table.pages)
    name = _named(table.name, "tenant_present")
    if name not in table.checks:
        if name not in table.unproven:
            check = f"add constraint {quoted(name)} check ({TENANT} is not null) not valid"
            yield Step(Phase.FILL, table.name, f"alter table {table.sql} {check}")
        yield Step(Phase.FILL, table.name, f"alter table {table.sql} validate constraint {quoted(name)}")
    not_null = f"alter column {TENANT} set not null, drop constraint {quoted(name)}"
    yield Step(Phase.FILL, table.name, f"alter table {table.sql} {not_null}")


def _indexed(table: Table, database: Database, wish: Wish) -> Iterator[Step]:
    """Give every index over the tenant's rows a twin that begins with the tenant."""
    there = {index.name: index for index in table.indexes}
    for index in table.indexes:
        twin = _named(index.name, "tenant")
        if index.has_tenant or index.method != "btree":
            continue
        yield from _built(table, there.get(twin), _twin(index, twin))
    for key in _keys_to_widen(table):
        if not any(index.columns[: len(key.columns)] == key.columns for index in table.indexes):
            name = _named(key.name, "tenant_ix")
            columns = ", ".join(map(quoted, (TENANT, *key.columns)))
            statement = f"create index concurrently {quoted(name)} on {table.sql} ({columns})"
            yield from _built(table, there.get(name), statement)


def _built(table: Table, found: Index | None, statement: str) -> Iterator[Step]:
    if found is not None and found.is_valid:
        return
    if found is not None:
        # What an interrupted CREATE INDEX CONCURRENTLY leaves is no index, but has the name.
        yield Step(
            Phase.INDEX, table.name, f"drop index concurrently {quoted(table.schema)}.{quoted(found.name)}"
        )
    yield Step(Phase.INDEX, table.name, statement)


def _twin(index: Index, name: str) -> str:
    """Return the statement that makes the index anew, with the tenant in front."""
    kind, _, rest = index.definition.partition(" INDEX ")
    _, _, target = rest.partition(" ON ")
    table, _, columns = target.partition(" USING btree (")
    return f"{kind} INDEX CONCURRENTLY {quoted(name)} ON {table} USING btree ({TENANT}, {columns}"


def _referring(table: Table, database: Database, wish: Wish) -> Iterator[Step]:
    """Make foreign keys hold the tenant too, and the tenant itself be one that exists."""
    valid = {key.name: key.is_valid for key in table.foreign_keys}
    name = _named(table.name, "tenant_fk")
    if not any(key.columns == (TENANT,) and key.parent == "public.tenants" for key in table.foreign_keys):
        reference = f"foreign key ({TENANT}) references public.tenants (id) not valid"
        yield _added(table, name, reference)
    if not valid.get(name, False):
        yield _validated(table, name)
    for key in _keys_to_widen(table):
        wide = _named(key.name, "tenant")
        if wide not in valid:
            yield _added(table, wide, _widened(key, database.schema))
        if not valid.get(wide, False):
            yield _validated(table, wide)
        yield Step(Phase.CONTRACT, table.name, f"alter table {table.sql} drop constraint {quoted(key.name)}")


def _keys_to_widen(table: Table) -> list[ForeignKey]:
    return [key for key in table.foreign_keys if key.is_parent_here and TENANT not in key.columns]


def _widened(key: ForeignKey, schema: str) -> str:
    own, others = (
        ", ".join(map(quoted, (TENANT, *columns))) for columns in (key.columns, key.parent_columns)
    )
    delete = _ACTIONS[key.delete]
    if key.delete in ("n", "d"):
        # Of a row whose parent goes only the reference is emptied, never whose it is.
        delete += f" ({', '.join(map(quoted, key.columns))})"
    actions = (f" on update{_ACTIONS[key.update]}" if _ACTIONS[key.update] else "") + (
        f" on delete{delete}" if delete else ""
    )
    parent = f"{quoted(schema)}.{quoted(key.parent)}"
    return f"foreign key ({own}) references {parent} ({others}){actions}{key.deferral} not valid"


def _swapped(table: Table, database: Database, wish: Wish) -> Iterator[Step]:
    """Let the twins take the place of keys, uniques and indexes that do not know the tenant."""
    for index in table.indexes:
        if index.has_tenant or index.method != "btree":
            continue
        twin = quoted(_named(index.name, "tenant"))
        if index.constraint is None:
            drop = f"drop index concurrently {quoted(table.schema)}.{quoted(index.name)}"
            yield Step(Phase.CONTRACT, table.name, drop)
        elif not (table.referenced_from and index.is_unique):
            kind = "primary key" if index.is_primary else "unique"
            yield Step(
                Phase.CONTRACT,
                table.name,
                f"alter table {table.sql} drop constraint {quoted(index.constraint)}, "
                f"add constraint {twin} {kind} using index {twin}",
            )


def _protected(table: Table, database: Database, wish: Wish) -> Iterator[Step]:
    bound = f"({TENANT} = {BOUND})"
    policies = {
        "owner": (quoted(database.role), "(true)"),
        "tenant_isolation": (_APPLICATION, bound),
        **{f"serving_{role}": (quoted(role), "(true)") for role in wish.keep_serving},
    }
    for name, (roles, condition) in policies.items():
        if name not in table.policies:
            yield Step(
                Phase.PROTECT,
                table.name,
                f"create policy {quoted(name)} on {table.sql} to {roles} "
                f"using {condition} with check {condition}",
            )
    if not (table.is_enabled and table.is_forced):
        rls = f"alter table {table.sql} enable row level security, force row level security"
        yield Step(Phase.PROTECT, table.name, rls)
    if table.is_public:
        yield Step(Phase.PROTECT, table.name, f"revoke all on {table.sql} from public")
    # Only now, because until here nothing would narrow what the application sees.
    if not table.is_granted:
        grant = f"grant select, insert, update, delete on {table.sql} to mis_app"
        yield Step(Phase.PROTECT, table.name, grant)
    if not table.is_purgeable:
        # By which the purge of a tenant empties it.
        yield Step(Phase.PROTECT, table.name, f"grant select, delete on {table.sql} to mis_platform")
    for serial in table.serials:
        if not serial.is_granted:
            yield Step(Phase.PROTECT, table.name, f"grant usage on sequence {serial.sequence} to mis_app")


def _added(table: Table, name: str, constraint: str) -> Step:
    return Step(
        Phase.CONTRACT, table.name, f"alter table {table.sql} add constraint {quoted(name)} {constraint}"
    )


def _validated(table: Table, name: str) -> Step:
    return Step(Phase.CONTRACT, table.name, f"alter table {table.sql} validate constraint {quoted(name)}")


def _named(name: str, suffix: str) -> str:
    """Return a name made from another one, within Postgres' length and always the same."""
    made = f"{name}_{suffix}"
    if len(made.encode()) <= _LONGEST_NAME:
        return made
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    kept = name.encode()[: _LONGEST_NAME - len(suffix) - len(digest) - 2].decode(errors="ignore")
    return f"{kept}_{digest}_{suffix}"
