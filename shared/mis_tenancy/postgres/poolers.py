"""Between us and Postgres: a pooler that lends a server connection for one transaction at a time.

A URL says so with `?pooler=…`, because that is a property of the connection, like its TLS. Our own pools stay
as they are: a connection to the pooler is cheap to keep and dear to make anew. All that changes is how
statements are prepared (docs/decisions/0033-transaction-poolers.md).
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy.engine import URL, make_url

from mis_tenancy.postgres.connection import TenantConnection
from mis_tenancy.settings import SettingsError

# Nothing is remembered between statements, and an unnamed one leaves nothing on a server connection, which is
# the next client's a moment later.
_UNPREPARED: Final[Mapping[str, Any]] = MappingProxyType({"statement_cache_size": 0})
_UNPREPARED_DIALECT: Final[Mapping[str, Any]] = MappingProxyType(
    {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
)
_SERVER: Final = """
select pg_backend_pid() as pid, array(select name::text from pg_prepared_statements) as statements
"""


class Pooler(StrEnum):
    """What stands between us and Postgres."""

    # PgBouncer from 1.21 on: prepared statements follow their client from server to server.
    TRANSACTION = "transaction"
    # Any other: a prepared statement is found again only by chance.
    UNPREPARED = "transaction-unprepared"


def parse_database_url(url: str) -> tuple[URL, Pooler | None]:
    """Return the URL without what it says of a pooler, and that; raise SettingsError for an unknown one."""
    parsed = make_url(url)
    named = parsed.query.get("pooler")
    if named is None:
        return parsed, None
    try:
        return parsed.difference_update_query(["pooler"]), Pooler(str(named))
    except ValueError:
        known = " or ".join(f"pooler={pooler}" for pooler in Pooler)
        raise SettingsError(
            f"A database URL says pooler={named}, which is none. Say {known}, or leave it out."
        ) from None


def driver_options(pooler: Pooler | None) -> Mapping[str, Any]:
    """Return what asyncpg connects with."""
    return _UNPREPARED if pooler is Pooler.UNPREPARED else {}


def dialect_options(pooler: Pooler | None) -> Mapping[str, Any]:
    """Return what SQLAlchemy's dialect connects with, besides what the driver does."""
    return _UNPREPARED_DIALECT if pooler is Pooler.UNPREPARED else {}


async def refuse_wrong_pooler(connection: TenantConnection, role: str, pooler: Pooler | None) -> None:
    """Raise SettingsError where the connection, in a transaction, is not what its URL says.

    A pooler shows by the process id it makes up for its clients, and one that keeps prepared statements by
    the names it gives them.
    """
    if pooler is Pooler.UNPREPARED:
        return
    statement = await connection.prepare(_SERVER)
    server = await statement.fetchrow()
    if server["pid"] == connection.get_server_pid():
        return
    if pooler is None:
        raise SettingsError(
            f"Between here and Postgres a pooler lends connections to the role {role!r}. Add "
            "pooler=transaction to its URL's parameters, or have the URL lead to Postgres itself."
        )
    if statement.get_name() in server["statements"]:
        raise SettingsError(
            f"The pooler that the role {role!r} connects to keeps no prepared statements. Set its "
            "max_prepared_statements (PgBouncer 1.21 or newer), or pooler=transaction-unprepared in the URL."
        )
