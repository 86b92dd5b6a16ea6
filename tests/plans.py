"""What tests read from the plans of statements: which scans there were, and how many rows they read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.ext.asyncio import AsyncSession

DIALECT: Final = dialect()  # type: ignore[no-untyped-call]
_EXPLAIN: Final = "explain (analyze, format json) "


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan of a table: its kind, its index, and the rows it read, those it threw away too."""

    kind: str
    index: str | None
    rows: float


async def scans_of(
    session: AsyncSession, statement: Select[Any] | str, table: str, **parameters: Any
) -> list[Scan]:
    """Run the statement and return its scans of `table`."""
    if isinstance(statement, str):
        found: Any = await session.execute(text(_EXPLAIN + statement), parameters)
    else:
        compiled = statement.compile(dialect=DIALECT)
        given = tuple(compiled.params[name] for name in compiled.positiontup or ())
        found = await (await session.connection()).exec_driver_sql(f"{_EXPLAIN}{compiled}", given)
    return list(_scans(found.scalar_one()[0]["Plan"], table))


def _scans(node: dict[str, Any], table: str) -> Iterator[Scan]:
    if node.get("Relation Name") == table and "Scan" in node["Node Type"]:
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        yield Scan(node["Node Type"], node.get("Index Name"), rows * node["Actual Loops"])
    for child in node.get("Plans", ()):
        yield from _scans(child, table)
