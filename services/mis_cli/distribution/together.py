"""One commit for what a transaction writes on a node and on the coordinator.

Citus commits in two phases where several nodes have a part in a transaction. A plain table's rows on the
coordinator are none of its business: there it commits one node first and the coordinator after it, and should
the coordinator die in between, a fact stands without its job, its event or its revocation. So whoever writes
such a row touches, by a trigger, a table of Citus' own on the coordinator, which has no rows.

After two phases the coordinator's rows can be seen a moment before the nodes'. Whoever goes from a row here
to rows there asks first whether that moment is over (SystemTransaction.is_settled). Changes that are made all
the time, and with which nothing but a turn is lost, are left out.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mis_cli.distribution.layout import coordinator_names

SCHEMA: Final = "mis_nodes"
TRIGGER: Final = "commit_together"

# In a schema that no role of the application's may enter; the function is its owner's.
FOUNDATION: Final = f"""
create schema if not exists {SCHEMA};
create table if not exists {SCHEMA}.commits (id integer primary key);
select citus_add_local_table_to_metadata('{SCHEMA}.commits');
create or replace function {SCHEMA}.{TRIGGER}() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as
'begin update {SCHEMA}.commits set id = id; return null; end'
"""  # noqa: S608  # names of our own
IS_FOUNDED: Final = f"select to_regprocedure('{SCHEMA}.{TRIGGER}()') is not null"

# A failed sign-in more or less: nothing that has happened is lost with it.
_APART: Final = frozenset({"login_throttles"})
# Other changes of these are turns of the worker's, which takes them again where one was lost.
_EVENTS: Final[Mapping[str, str]] = MappingProxyType(
    {"jobs": "insert", "outbox": "insert", "webhook_lanes": "insert or delete"}
)


def tied_names() -> list[str]:
    """Return the coordinator's tables whose rows commit with those of the nodes."""
    return sorted(coordinator_names() - _APART)


def tie_sql(table: str) -> str:
    """Return the statement that ties a table's rows to those of the nodes."""
    events = _EVENTS.get(table, "insert or update")
    return (
        f"create trigger {TRIGGER} after {events} on {table} "
        f"for each statement execute function {SCHEMA}.{TRIGGER}()"
    )
