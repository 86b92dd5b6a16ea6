"""A real PgBouncer in transaction mode before the embedded Postgres, for tests of what it does to us.

It is in no wheel: tests that need it skip where the machine has none.
"""

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import pytest

from mis_cli.embedded import ROLES, DatabaseUrls, PostgresAddress
from mis_cli.embedded.processes import end, free_port, server_identity, spawn, tail
from mis_cli.embedded.secrets import generated
from mis_cli.migrations import ROLES_FILE
from mis_tenancy.postgres.poolers import Pooler

CONFIGURATION = ROLES_FILE.with_name("pgbouncer.ini")
SERVER = "mis_db = host=postgres port=5432"
MISSING = "There is no pgbouncer on this machine; `apt-get install pgbouncer` brings one."
_SYSTEM_PROGRAMS = "/usr/sbin:/usr/local/sbin"


@cache
def pgbouncer() -> tuple[Path, tuple[int, int]] | None:
    """Return the program and its version; None where the machine has none."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path=_SYSTEM_PROGRAMS)
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603  # only asks
    version = re.search(r"PgBouncer (\d+)\.(\d+)", said)
    assert version is not None, said
    return Path(found), (int(version[1]), int(version[2]))


@dataclass(frozen=True, slots=True)
class PoolerAddress:
    """Where a pooler listens, and what URLs have to say of it."""

    port: int
    pooler: Pooler

    def services(self, direct: DatabaseUrls) -> DatabaseUrls:
        """Return the services' URLs through the pooler; the owner's, for migrations, stays direct."""
        app, auth, platform = (self._through(url) for url in (direct.app, direct.auth, direct.platform))
        return DatabaseUrls(owner=direct.owner, app=app, auth=auth, platform=platform)

    def _through(self, url: str) -> str:
        netloc = f"{urlsplit(url).netloc.partition('@')[0]}@127.0.0.1:{self.port}"
        return urlsplit(url)._replace(netloc=netloc, query=f"pooler={self.pooler}").geturl()


class TransactionPooler:
    """One PgBouncer that lends each role `size` server connections of a database.

    It keeps `statements` prepared ones of a client, where it can keep any; `more` are further settings, and
    `beyond` a port that leads to Postgres instead of its own.
    """

    def __init__(
        self,
        postgres: PostgresAddress,
        directory: Path,
        *,
        size: int,
        statements: int,
        beyond: int | None = None,
        more: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        found = pgbouncer()
        assert found is not None, MISSING
        program, version = found
        can_keep = version >= (1, 21)
        kind = Pooler.TRANSACTION if can_keep and statements else Pooler.UNPREPARED
        self.address = PoolerAddress(free_port(), kind)
        self._directory, self._postgres, self._beyond = directory, postgres, beyond or postgres.port
        kept = {"max_prepared_statements": statements} if can_keep else {}
        self._settings = {"default_pool_size": size, **kept, **more}
        self._log = directory / "pgbouncer.log"
        self._process = self._spawned(program)
        self._await_answer()

    def stop(self) -> None:
        """End it, and with it every connection."""
        end(self._process, (signal.SIGQUIT,))

    def _spawned(self, program: Path) -> "subprocess.Popen[bytes]":
        self._directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        identity = server_identity()
        for name, text in (("pgbouncer.ini", self._configuration()), ("users.txt", self._users())):
            path = self._directory / name
            path.touch(mode=0o600)
            path.write_text(text)
            if identity is not None:
                shutil.chown(path, identity.uid, identity.gid)
        command = [program, self._directory / "pgbouncer.ini"]
        return spawn(command, log=self._log, on_parent_death=signal.SIGQUIT, identity=identity)

    def _configuration(self) -> str:
        """Return the configuration that we ship, with what differs here put in its place or said again."""
        shipped = CONFIGURATION.read_text()
        assert SERVER in shipped
        here = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.address.port,
            "auth_file": self._directory / "users.txt",
            # No verdict by the time that a busy machine takes.
            "query_wait_timeout": 120,
            **self._settings,
        }
        # Under the section that the file ends with: a second one of its name would begin from the defaults.
        said_again = "".join(f"{name} = {value}\n" for name, value in here.items())
        return shipped.replace(SERVER, f"* = host=127.0.0.1 port={self._beyond}") + said_again

    def _users(self) -> str:
        passwords = generated(self._postgres.directory / "roles.json", ROLES)
        return "".join(f'"{role}" "{password}"\n' for role, password in passwords.items())

    def _await_answer(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.address.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError(tail(self._log))


@contextmanager
def transaction_pooler(
    postgres: PostgresAddress, directory: Path, *, size: int = 1, statements: int = 200, **further: Any
) -> Iterator[TransactionPooler]:
    """Yield a pooler of the test's own, as TransactionPooler takes it; skip the test where there is none."""
    if pgbouncer() is None:
        pytest.skip(MISSING)
    pooler = TransactionPooler(postgres, directory, size=size, statements=statements, **further)
    try:
        yield pooler
    finally:
        pooler.stop()
