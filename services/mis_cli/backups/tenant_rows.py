"""One tenant's rows, table by table, as text that any server of the schema reads back exactly.

Each column travels as Postgres writes it, so that nothing is lost between types (a JSON null is not a missing
value), and by its name, so that a newer schema takes an older backup as far as its new columns have defaults.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from tenant_service.endings.tables import purged_tables

# What is of the moment: work and events under way, and what must not come back to life.
LEFT_OUT: Final = frozenset(
    {
        *("jobs", "outbox", "idempotency_keys", "platform_idempotency_keys", "media_uploads"),
        *("sessions", "refresh_tokens", "account_tokens", "challenges", "sso_attempts"),
    }
)
_ROWS_AT_ONCE: Final = 500

_COLUMNS: Final = """
select c.relname::text as name, a.attname::text as column, format_type(a.atttypid, a.atttypmod) as type
  from pg_class c join pg_attribute a on a.attrelid = c.oid
 where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname = any($1)
   and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
 order by c.relname, a.attnum
"""

Types = Mapping[str, Mapping[str, str]]


def backed_up_tables() -> list[str]:
    """Return the tables of which a tenant's rows are backed up, parents before their children."""
    owned = [table.name for table in reversed(purged_tables()) if table.name not in LEFT_OUT]
    return ["tenants", "tenant_names", *owned]


def emptied_tables() -> list[str]:
    """Return the tables that a restoration empties of the tenant's rows, children before their parents."""
    return [*(table.name for table in purged_tables()), "tenant_names", "deletion_certificates"]


def rows_file(table: str) -> str:
    """Return the name of the file with a table's rows."""
    return f"{table}.ndjson"


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the rows of such a file."""
    with path.open("rb") as lines:
        yield from lines


async def types(connection: Any, tables: Sequence[str]) -> Types:
    """Return the type of each column that is stored, by table."""
    found: dict[str, dict[str, str]] = {}
    for row in await connection.fetch(_COLUMNS, list(tables)):
        found.setdefault(row["name"], {})[row["column"]] = row["type"]
    return found


async def rows_of(connection: Any, table: str, columns: Sequence[str], tenant_id: UUID) -> AsyncIterator[str]:
    """Yield each of the tenant's rows as one JSON object of texts."""
    texts = ", ".join(f'"{column}"::text as "{column}"' for column in columns)
    own = f"select {texts} from public.{table} where {_key(table)} = $1"  # noqa: S608  # names of our models
    rows = f"select row_to_json(one)::text as line from ({own}) one"  # noqa: S608  # names of our models
    async for row in connection.cursor(rows, tenant_id, prefetch=_ROWS_AT_ONCE):
        yield row["line"]


async def insert(
    connection: Any, table: str, columns: Mapping[str, str], lines: Iterator[bytes], tenant_id: UUID
) -> None:
    """Insert rows that `rows_of` yielded, or write the tenant's own row over.

    Whose they are is not read from them: a file that was tampered with must not reach another tenant.
    """
    names = ", ".join(f'"{column}"' for column in columns)
    key = _key(table)
    values = ", ".join(
        "$2::uuid" if column == key else f"(one ->> '{column}')::{kind}" for column, kind in columns.items()
    )
    rows = f"select {values} from unnest($1::text[]) line, lateral (select line::json as one) as parsed"  # noqa: S608  # names of the catalogue
    again = ""
    if table == "tenants":
        again = "on conflict (id) do update set " + ", ".join(
            f'"{column}" = excluded."{column}"' for column in columns if column != "id"
        )
    while some := [line.decode() for line in islice(lines, _ROWS_AT_ONCE)]:
        # It returns something, because Citus would otherwise copy the rows, which row-level security refuses.
        insertion = f"insert into public.{table} ({names}) {rows} {again} returning 1"
        await connection.execute(insertion, some, tenant_id)


async def remove(connection: Any, table: str, tenant_id: UUID) -> None:
    """Delete the tenant's rows of a table."""
    await connection.execute(f"delete from public.{table} where {_key(table)} = $1", tenant_id)  # noqa: S608


async def count(connection: Any, table: str, tenant_id: UUID) -> int:
    """Return how many rows of a table the tenant has."""
    counting = f"select count(*) from public.{table} where {_key(table)} = $1"  # noqa: S608  # names of our models
    return int(await connection.fetchval(counting, tenant_id))


def _key(table: str) -> str:
    return "id" if table == "tenants" else "tenant_id"
