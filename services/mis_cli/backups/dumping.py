"""The database into one file, by pg_dump as the tables' owner, and the proof that every row is in it.

The counts and the dump are of one snapshot, which pg_dump is handed. FORCE binds the owner too: a table
without a policy that lets the owner through would be dumped as if it were empty, and counted so as well, so
the catalogue is asked for those policies first.
"""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from mis_cli.backups import clusters
from mis_cli.backups.errors import BackupFailed, BackupRefused
from mis_cli.backups.programs import Programs, piped
from mis_cli.distribution.together import SCHEMA
from mis_cli.master_keys import STORES

_TABLES: Final = """
select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'public' and c.relkind = 'r' order by 1
"""
_HIDDEN: Final = """
select c.relname::text as name
  from pg_class c
 where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
   and (pg_get_userbyid(c.relowner) <> current_user
        or (c.relrowsecurity and c.relforcerowsecurity and not exists (
            select from pg_policy p
             where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('*', 'r')
               and p.polroles @> array[current_user::regrole::oid]
               and pg_get_expr(p.polqual, p.polrelid) = 'true')))
 order by 1
"""
_COPY: Final = re.compile(rb'COPY ((?:"(?:[^"]|"")*"|[^ "])+) .*FROM stdin;\n', re.S)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of the database, open for as long as the block that yielded it.

    `session` are the settings that another session needs to see the same.
    """

    connection: Any
    name: str
    server: str
    major: int
    revision: str
    session: str


@asynccontextmanager
async def snapshot(url: str, *, of_all: bool) -> AsyncIterator[Snapshot]:
    """Yield a moment of the database as its owner; raise BackupRefused where some rows would be hidden.

    On a cluster only one tenant has such a moment, on its node, unless everybody stops writing.
    """
    connection = await asyncpg.connect(url, timeout=10, server_settings={"application_name": "mis backup"})
    try:
        held = await clusters.tables_at_rest(connection) if of_all else ""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if held:
                await clusters.hold_still(connection, held)
            if not await connection.fetchval("select to_regclass('public.alembic_version') is not null"):
                raise BackupRefused("The database is empty: there is nothing to back up.")
            if hidden := [row["name"] for row in await connection.fetch(_HIDDEN)]:
                raise BackupRefused(
                    f"{', '.join(hidden[:5])}: not owned by this role, or without a policy that shows its "
                    "owner every row, so rows would be missing. Connect as mis_owner; `mis doctor` says more."
                )
            yield Snapshot(
                connection,
                await connection.fetchval("select pg_export_snapshot()"),
                await connection.fetchval("show server_version"),
                await connection.fetchval("select current_setting('server_version_num')::int / 10000"),
                await connection.fetchval("select version_num from public.alembic_version"),
                f"-c {clusters.WITHOUT_PARTS}" if held else "",
            )
    finally:
        await connection.close()


async def master_key_ids(connection: Any, tenant_id: object = None) -> list[str]:
    """Return the ids of the master keys that something is wrapped or signed by, of one tenant or of all."""
    found: set[str] = set()
    for store in STORES:
        if store.key_column is None or (tenant_id is not None and "tenant_id" not in store.key):
            continue
        # Every row that still holds something is under another key than one that has no name.
        own = "" if tenant_id is None else "and tenant_id = $2"
        rows = f"public.{store.table} where {store.older} {own}"
        ids = f"select distinct {store.key_column} as id from {rows}"  # noqa: S608  # names of STORES
        found |= {
            row["id"] for row in await connection.fetch(ids, store.mark(""), *filter(None, [tenant_id]))
        }
    return sorted(found)


async def counts(connection: Any) -> dict[str, int]:
    """Return how many rows each table, partition by partition, has for this transaction."""
    names = [row["name"] for row in await connection.fetch(_TABLES)]
    # The names come from the catalogue, quoted by it.
    return {name: await connection.fetchval(f"select count(*) from only {name}") for name in names}  # noqa: S608


async def dump(moment: Snapshot, url: str, programs: Programs, file: Path) -> dict[str, int]:
    """Write the snapshot to `file` and return its rows by table; raise BackupFailed where any is missing."""
    expected = await counts(moment.connection)
    options = ("--format=custom", "--enable-row-security", "--no-owner", "--no-password")
    what = (f"--exclude-schema={SCHEMA}", f"--snapshot={moment.name}", f"--file={file}")
    await programs.run("pg_dump", *options, *what, url=url, session=moment.session)
    found = await rows_in(programs, file)
    if found != expected:
        names = sorted(expected.keys() | found.keys())
        wrong = [name for name in names if expected.get(name) != found.get(name)]
        told = "; ".join(f"{name}: {found.get(name, 0)} of {expected.get(name, 0)}" for name in wrong[:5])
        raise BackupFailed(f"The dump does not hold what the database does: {told}. It was removed.")
    return expected


async def rows_in(programs: Programs, file: Path) -> dict[str, int]:
    """Return the rows by table that the dump would load, by reading all of it."""
    process = programs.start("pg_restore", "--data-only", "--file=-", str(file))
    try:
        found = await asyncio.to_thread(_counted, process)
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.wait():
        raise BackupFailed("pg_restore could not read the dump back. It was removed.")
    return found


def _counted(process: subprocess.Popen[bytes]) -> dict[str, int]:
    found: dict[str, int] = {}
    table: str | None = None
    with piped(process.stdout) as lines:
        # In COPY's text a row is one line, whatever its values hold.
        for line in lines:
            if table is None:
                if match := _COPY.fullmatch(line):
                    table = match[1].decode()
                    found[table] = 0
            elif line == b"\\.\n":
                table = None
            else:
                found[table] += 1
    return found
