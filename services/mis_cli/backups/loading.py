"""Loads a dump in one transaction with what comes before and after it, by psql.

pg_restore alone commits what it loaded before anybody could count it or end what must not live on. So it only
writes SQL, which is handed on, and the last word of the transaction is ours.
"""

import asyncio
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from mis_cli.backups.clusters import contents
from mis_cli.backups.endings import silenced
from mis_cli.backups.errors import BackupFailed
from mis_cli.backups.making import DUMP
from mis_cli.backups.manifest import Manifest
from mis_cli.backups.programs import Programs, last_lines, piped
from mis_cli.backups.trail import sql_note
from mis_cli.renumbering import RENUMBER

_ENDINGS: Final = Path(__file__).with_name("restoration.sql")
_PIECE: Final = 2**20
# A newer pg_restore sets it for servers that do not have it.
_UNKNOWN_TO_OLDER: Final = b"SET transaction_timeout = 0;\n"

# What an extension keeps beside our tables is not ours to count or to remove.
OURS: Final = """not exists (
    select from pg_depend where deptype = 'e' and objid = oid
       and classid in ('pg_class'::regclass, 'pg_proc'::regclass))"""
_BEFORE: Final = f"""
begin;
set local lock_timeout = '10s';
do $$
declare one record;
begin
    for one in select format('drop table if exists public.%I cascade', relname) as statement
                 from pg_class
                where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and {OURS}
    loop execute one.statement; end loop;
    for one in select format('drop routine if exists %s cascade', oid::regprocedure) as statement
                 from pg_proc where pronamespace = 'public'::regnamespace and {OURS}
    loop execute one.statement; end loop;
    for one in select format('drop %s if exists public.%I cascade',
                             case relkind when 'S' then 'sequence' when 'v' then 'view'
                                          else 'materialized view' end, relname) as statement
                 from pg_class
                where relnamespace = 'public'::regnamespace and relkind in ('S', 'v', 'm') and {OURS}
    loop execute one.statement; end loop;
end
$$;
"""  # noqa: S608  # our own condition
_COUNTED: Final = """
do $$
begin
    if (select count(*) from only {table}) <> {rows} then
        raise exception '{table}: not the {rows} rows that were backed up';
    end if;
end
$$;
"""
_END_API_KEYS: Final = "update public.api_keys set revoked_at = now() where revoked_at is null;\n"


@dataclass(frozen=True, slots=True)
class Choice:
    """`replace` lets what is there go; `end_api_keys` ends the keys of tenants' programs, too.

    With `mute` nothing that is restored speaks to anybody outside.
    """

    replace: bool = False
    end_api_keys: bool = False
    mute: bool = False


async def load(
    directory: Path, manifest: Manifest, owner_url: str, programs: Programs, choice: Choice
) -> None:
    """Replace what is in the database by the dump; raise BackupFailed with the database as it was."""
    options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-")
    dump = directory / DUMP
    with contents(programs, dump) as kept:
        reading = ("--enable-row-security", "--no-owner", "--file=-", f"--use-list={kept}", str(dump))
        psql = programs.start("psql", *options, url=owner_url, reads=True)
        source = programs.start("pg_restore", *reading)
        try:
            said = await asyncio.to_thread(_hand_on, source, psql, _after(manifest, choice))
            # psql is content with a dump that ends too early; then no commit was sent.
            failed = source.wait() != 0 or psql.wait() != 0
        finally:
            # Whoever is left without the other ends without a commit.
            for process in (source, psql):
                if process.poll() is None:
                    process.kill()
    if failed:
        why = last_lines(said) or "pg_restore could not read the dump"
        raise BackupFailed(f"The database is as it was before: {why}")


def _after(manifest: Manifest, choice: Choice) -> bytes:
    # Names come from the catalogue of the backed-up database, quoted by it.
    counted = [
        _COUNTED.format(table=table.replace("'", "''"), rows=rows) for table, rows in manifest.rows.items()
    ]
    ended = [_END_API_KEYS] if choice.end_api_keys else []
    ended += [f"{statement};" for statement in silenced(None)] if choice.mute else []
    noted = sql_note("backup.restored", {"createdAt": manifest.created_at})
    return "\n".join([*counted, _ENDINGS.read_text(), *ended, RENUMBER, noted, "commit;\n"]).encode()


def _hand_on(source: subprocess.Popen[bytes], psql: subprocess.Popen[bytes], after: bytes) -> bytes:
    """Pump the dump's SQL into psql with ours around it, and return what psql complained of."""
    said: list[bytes] = []
    # Read beside, so that a long complaint does not fill the pipe and hold everything up.
    listening = threading.Thread(target=_listen, args=(piped(psql.stderr), said))
    listening.start()
    try:
        with piped(psql.stdin) as sink, piped(source.stdout) as dump:
            _write(sink, dump)
            if source.wait() == 0:
                sink.write(after)
    except BrokenPipeError:
        # psql has ended at an error, which it told.
        pass
    psql.wait()
    listening.join()
    return b"".join(said)


def _listen(stderr: IO[bytes], said: list[bytes]) -> None:
    with stderr:
        said.append(stderr.read())


def _write(sink: IO[bytes], dump: IO[bytes]) -> None:
    sink.write(_BEFORE.encode())
    head = dump.read(_PIECE)
    sink.write(head.replace(_UNKNOWN_TO_OLDER, b"", 1))
    while piece := dump.read(_PIECE):
        sink.write(piece)
