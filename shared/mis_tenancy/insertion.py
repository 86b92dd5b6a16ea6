"""All that waits in a session inserted by one statement: one round trip instead of one for each table.

Where much comes to be at once, such as a tenant, those round trips are most of the time it takes. Each
table's rows become one data-modifying CTE over arrays, so the statement's text depends on the tables and
columns and never on the number of rows, and is prepared once. Policies are held against each row. Parents
come first: Postgres holds foreign keys at the statement's end, but Citus after each table.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, MetaData, String, Text, bindparam, column, func, inspect, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstanceState, Session, make_transient_to_detached
from sqlalchemy.sql.elements import NamedColumn
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlalchemy.types import TypeEngine

from mis_tenancy.errors import IsolationError
from mis_tenancy.origins.rows import seal_origins
from mis_tenancy.session import TenantSession, hold_to_tenant, tenant_of
from mis_tenancy.tables import Base, TenantRow

_Column = NamedColumn[Any]
_Shape = tuple[Any, tuple[_Column, ...]]


async def insert_together(session: AsyncSession) -> None:
    """Insert every new row of `session` in one statement; they are its rows from then on, as after a flush.

    Raise IsolationError for a row of another tenant, and where the session also waits to change or delete
    rows, because nobody could say which comes first.
    """
    new = await session.run_sync(_held)
    if new:
        # On the session's own connection, because its `execute` would flush the very rows first, one by one.
        connection = await session.connection()
        await connection.execute(*_grouped(new))
        await session.run_sync(_settle, new)


async def insert_many(
    session: TenantSession,
    entity: type[Base],
    rows: Sequence[Mapping[str, Any]],
    *,
    skip: bool = False,
) -> set[UUID]:
    """Insert `rows` of the session's tenant in one statement, and return the `id` of those that went in.

    All have the same columns. With `skip` a row is passed over whose place is taken; a table without an id
    returns nothing.
    """
    if not rows:
        return set()
    tenant_id = tenant_of(session)
    table: Any = entity.__table__
    names = tuple(rows[0])
    arrays = {_name(0, place): [row[name] for row in rows] for place, name in enumerate(names)}
    arrays[_name(0, len(names))] = [tenant_id] * len(rows)
    # The connection adds no criteria, which an insert has no use for; the policy holds each row.
    connection = await session.connection()
    inserted = await connection.execute(_many(table, (*names, "tenant_id"), skip=skip), arrays)
    return set(inserted.scalars()) if "id" in table.c else set()


@lru_cache(maxsize=64)
def _many(table: Any, names: tuple[str, ...], *, skip: bool) -> Any:
    statement = _insertion(0, table, tuple(table.c[name] for name in names))
    if skip:
        statement = statement.on_conflict_do_nothing()
    return statement.returning(table.c.id) if "id" in table.c else _answering(statement, table)


def _held(session: Session) -> list[object]:
    if session.deleted or any(session.is_modified(row) for row in session.dirty):
        raise IsolationError("Flush what this session changes before it inserts its new rows together.")
    hold_to_tenant(session, session.new)
    # What a flush would have done by itself; it may add their keys to the new rows.
    seal_origins(session)
    new = list(session.new)
    for row in new:
        _fill(row)
    return new


def _fill(row: object) -> None:
    """Give the row the defaults of its columns that it has no value for."""
    state: InstanceState[Any] = inspect(row)
    for attribute in state.mapper.column_attrs:
        default = attribute.columns[0].default
        if default is not None and state.dict.get(attribute.key) is None:
            if not isinstance(default, ScalarElementColumnDefault):
                raise TypeError(f"{attribute} has a default that is made on insert; give the row a value.")
            setattr(row, attribute.key, default.arg)


def _settle(session: Session, rows: list[object]) -> None:
    """Make the inserted rows the session's own; what the database has filled in is read when asked for."""
    for row in rows:
        session.expunge(row)
        make_transient_to_detached(row)
        session.add(row)


def _grouped(rows: Iterable[object]) -> tuple[Insert, dict[str, list[Any]]]:
    """Return the statement for rows of these shapes, and their values, an array for each column."""
    groups: dict[_Shape, list[list[Any]]] = {}
    for row in sorted(rows, key=_place):
        shape, values = _given(inspect(row))
        groups.setdefault(shape, []).append(values)
    arrays = {
        _name(at, place): [values[place] for values in group]
        for at, ((_, columns), group) in enumerate(groups.items())
        for place in range(len(columns))
    }
    return _statement(tuple(groups)), arrays


def _place(row: object) -> int:
    table: Any = inspect(row).mapper.local_table
    return _places(table.metadata)[table]


@lru_cache(maxsize=4)
def _places(metadata: MetaData) -> dict[Any, int]:
    return {table: place for place, table in enumerate(metadata.sorted_tables)}


@lru_cache(maxsize=256)
def _statement(shapes: tuple[_Shape, ...]) -> Insert:
    # Kept, because making it and its key in SQLAlchemy's own cache costs more than all the rest.
    *others, last = [
        _answering(_insertion(at, table, columns), table) for at, (table, columns) in enumerate(shapes)
    ]
    return last.add_cte(*(one.cte(f"inserted_{at}") for at, one in enumerate(others)))


def _given(state: InstanceState[Any]) -> tuple[_Shape, list[Any]]:
    """Return the row's table, the columns it has values for, and those; the rest is left to the database.

    What counts as a value is what a flush would send: None is none, except in JSON.
    """
    values: dict[_Column, Any] = {}
    for attribute in state.mapper.column_attrs:
        one = attribute.columns[0]
        value = state.dict.get(attribute.key)
        if value is not None or (attribute.key in state.dict and one.type.should_evaluate_none):
            values[one] = value
    return (state.mapper.local_table, tuple(values)), list(values.values())


def _insertion(at: int, table: Any, columns: tuple[_Column, ...]) -> PostgresInsert:
    arrays = [
        bindparam(_name(at, place), type_=ARRAY(_element(one.type), dimensions=1))
        for place, one in enumerate(columns)
    ]
    names = [one.name for one in columns]
    given = func.unnest(*arrays).table_valued(*map(column, names)).render_derived()
    return insert(table).from_select(names, select(*given.c), include_defaults=False)


def _answering(statement: PostgresInsert, table: Any) -> Insert:
    """Return the statement such that it returns something, where Citus keeps the table on its nodes.

    The rows of an INSERT that returns nothing it would carry by COPY, which row-level security refuses.
    """
    if table is TenantRow.__table__:
        return statement.returning(table.c.id)
    return statement.returning(table.c.tenant_id) if "tenant_id" in table.primary_key else statement


def _name(at: int, place: int) -> str:
    return f"values_{at}_{place}"


def _element(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    # An array has no collation of its own to be cast to.
    return Text() if isinstance(kind, String) else kind
