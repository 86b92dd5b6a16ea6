"""The statement door: the ORM's `select()`s, compiled once and run on the driver, for the hottest reads.

It returns the driver's records and never the connection, because only then can the pool go without a reset
query: nothing a caller does here could outlive its transaction. Result processors and eager loads do not run,
so a statement names plain columns.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy import Select
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.sql.compiler import SQLCompiler

from mis_tenancy.errors import IsolationError
from mis_tenancy.postgres.criteria import CRITERIA, TENANT
from mis_tenancy.postgres.pool import TenantPool

_DIALECT: Final = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
_MOST_PLANS: Final = 512


@dataclass(frozen=True, slots=True)
class _Plan:
    compiled: SQLCompiler
    sql: str
    names: tuple[str, ...]
    processors: Mapping[str, Callable[[Any], Any]]
    expands: bool


class StatementDoor:
    """Runs tenant-bound selects over a pool of `TenantConnection`s: BEGIN with SET LOCAL, SELECT, COMMIT."""

    def __init__(self, pool: TenantPool) -> None:
        self._pool = pool
        self._plans: OrderedDict[Any, _Plan] = OrderedDict()
        # The plans again by the very statements, as long as those live: to hash a cache key, which names each
        # part of a statement, takes longer than all else here where the statement is large.
        self._known: WeakKeyDictionary[Any, tuple[_Plan, Any]] = WeakKeyDictionary()

    async def fetch(
        self,
        statement: Select[*tuple[Any, ...]],
        tenant_id: UUID,
        values: Mapping[str, Any] | None = None,
        after: int | None = None,
    ) -> list[asyncpg.Record]:
        """Return the records `statement` selects for the tenant; `values` are those of its named parameters.

        The criteria are added here as in a TenantSession. Raise IsolationError for a statement that selects
        no tenant entity, because nothing would narrow it, and ReplicaBehind on a replica that has not
        replayed up to `after`.
        """
        sql, arguments = self.render(statement, tenant_id, values)
        async with self._pool.transaction(tenant_id, readonly=True, after=after) as connection:
            records: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return records

    def render(
        self, statement: Select[*tuple[Any, ...]], tenant_id: UUID, values: Mapping[str, Any] | None = None
    ) -> tuple[str, list[Any]]:
        """Return the SQL text and positional arguments of `statement` for the tenant."""
        known = self._known.get(statement)
        if known is None:
            known = self._known[statement] = self._plan_of(statement)
        plan, cache_key = known
        given: Mapping[str, Any] = plan.compiled.construct_params(
            {**(values or {}), TENANT: tenant_id}, extracted_parameters=cache_key.bindparams
        )
        sql, names, processors = plan.sql, plan.names, plan.processors
        if plan.expands:
            state = plan.compiled.construct_expanded_state(given)
            sql, names, given = state.statement, tuple(state.positiontup or ()), state.parameters
            processors = {**processors, **state.processors}
        return sql, [processors[name](given[name]) if name in processors else given[name] for name in names]

    def _plan_of(self, statement: Select[*tuple[Any, ...]]) -> tuple[_Plan, Any]:
        cache_key = statement._generate_cache_key()
        if cache_key is None:
            raise IsolationError("This statement cannot be compiled once; run it in a TenantSession.")
        plan = self._plans.get(cache_key.key)
        if plan is None:
            plan = self._plans[cache_key.key] = _compile(statement, cache_key)
            if len(self._plans) > _MOST_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(cache_key.key)
        return plan, cache_key


def _compile(statement: Select[*tuple[Any, ...]], cache_key: Any) -> _Plan:
    guarded = statement.options(CRITERIA)
    # With its cache key the compiled form learns which literals to take from later statements of the same
    # shape; without it every caller would be served the first one's values.
    compiled = guarded.compile(dialect=_DIALECT, cache_key=cache_key)
    if TENANT not in compiled.binds:
        raise IsolationError("The statement door takes selects of tenant entities, not of tables or text.")
    processors = {
        name: processor
        for bind, name in compiled.bind_names.items()
        if (processor := bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)) is not None
    }
    expands = bool(compiled.post_compile_params or compiled.literal_execute_params)
    return _Plan(compiled, str(compiled), tuple(compiled.positiontup or ()), processors, expands)
