"""A distributed database as a backup takes it: standing still, and without what `mis distribute` added to it.

On Citus a dump reads each part of each table at a moment of its own, whatever the coordinator's transaction
says. So the services have to be stopped, and whoever comes meanwhile waits to write. What comes of it is the
dump of an ordinary database: any Postgres takes it, and it can be distributed again.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg

from mis_cli.backups.errors import BackupFailed, BackupRefused
from mis_cli.backups.programs import Programs, piped
from mis_cli.distribution.together import TRIGGER

# Parts of tables lie beside the tables, and Citus hides them from sessions that are told so.
WITHOUT_PARTS: Final = "citus.override_table_visibility=on"

_HAS_CITUS: Final = "select to_regclass('pg_catalog.pg_dist_partition') is not null"
_IS_SPREAD: Final = "select exists (select from pg_dist_partition where partmethod = 'h')"
_AT_WORK: Final = """
select count(*) from pg_stat_activity
 where datname = current_database() and usename = any(array['mis_app', 'mis_auth', 'mis_platform'])
"""
_TABLES: Final = """
select string_agg('public.' || quote_ident(relname), ', ' order by relname) from pg_class
 where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
"""
# A node holds what the coordinator has committed already; its rows would be missing.
_UNSETTLED: Final = """
select coalesce(sum(result::int), 0) from run_command_on_workers(
    'select count(*) from pg_prepared_xacts where database = current_database()')
"""
# No extension is ours, and only a superuser may make one.
_ADDED: Final = re.compile(
    rb"\d+; \d+ \d+ (?:EXTENSION -|COMMENT - EXTENSION|TRIGGER public \S+ %b) " % TRIGGER.encode()
)


async def is_spread(connection: Any) -> bool:
    """Return whether tenants' rows lie on the nodes of a cluster."""
    return bool(await connection.fetchval(_HAS_CITUS) and await connection.fetchval(_IS_SPREAD))


async def tables_at_rest(connection: Any) -> str:
    """Name all tables of a distributed database, with the parts hidden from here on; '' where it is none.

    Raise BackupRefused while the services run.
    """
    if not await is_spread(connection):
        return ""
    await connection.execute(f"set {WITHOUT_PARTS}")
    if await connection.fetchval(_AT_WORK):
        raise BackupRefused(
            "The database is spread over a Citus cluster, whose nodes have no moment in common while someone "
            "may write. Stop the services and the worker, or back up each node (docs/backup.md). One tenant "
            "can be backed up meanwhile, by --tenant."
        )
    return str(await connection.fetchval(_TABLES))


async def hold_still(connection: Any, tables: str) -> None:
    """Keep everybody from writing until the transaction ends; call it before the first query of it."""
    await connection.execute("set local lock_timeout = '10s'")
    try:
        await connection.execute(f"lock table {tables} in share mode")
    except asyncpg.LockNotAvailableError as error:
        raise BackupRefused("Somebody writes to the database. Stop the services and the worker.") from error
    if await connection.fetchval(_UNSETTLED):
        raise BackupRefused(
            "A node has not yet finished what the coordinator has committed, as after a crash. It does so "
            "within citus.recover_2pc_interval (60 s): try again then."
        )


async def refuse_spread(connection: Any) -> None:
    """Raise BackupRefused where the database is distributed already."""
    if await is_spread(connection):
        raise BackupRefused(
            "The database is spread over a Citus cluster, where a dump cannot be loaded. Restore into a new "
            "one that has Citus in it (docs/scaling.md), run `mis distribute` there, and use that one."
        )


@contextmanager
def contents(programs: Programs, dump: Path) -> Iterator[str]:
    """Yield the name of a file that tells pg_restore (--use-list) all of a dump but what Citus needs."""
    listing = programs.start("pg_restore", "--list", str(dump))
    with tempfile.NamedTemporaryFile() as kept:
        with piped(listing.stdout) as lines:
            kept.writelines(line for line in lines if not _ADDED.match(line))
        kept.flush()
        if listing.wait():
            raise BackupFailed("pg_restore could not read the dump. Nothing has changed.")
        yield kept.name
