"""A streaming replica of an embedded Postgres, of the same wheel: to be held back, killed, started again."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mis_cli.embedded import PostgresAddress
from mis_cli.embedded.binaries import postgres_programs
from mis_cli.embedded.processes import EmbeddedServerError, end, free_port, run, server_identity, spawn, tail


class Standby:
    """A hot standby; `address` is where it listens."""

    def __init__(self, primary: PostgresAddress, directory: Path) -> None:
        self.address = PostgresAddress(primary.directory, free_port(), None, primary.superuser_password)
        self._identity = server_identity()
        self._programs = postgres_programs(self._identity)
        self._data, self._log = directory / "standby" / "data", directory / "standby.log"
        self._data.parent.mkdir(mode=0o711)
        if self._identity is not None:
            shutil.chown(self._data.parent, self._identity.uid, self._identity.gid)
        copy = ["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"]
        where = ["--host=127.0.0.1", f"--port={primary.port}", "--username=postgres"]
        run(
            [self._programs / "pg_basebackup", f"--pgdata={self._data}", *copy, *where],
            identity=self._identity,
            environment={"PGPASSWORD": primary.superuser_password},
        )
        self.start()

    def start(self) -> None:
        """Start it and wait until it can be read."""
        options = {
            "port": self.address.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            # Not less than the primary's.
            "max_connections": 300,
        }
        said = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._process: subprocess.Popen[bytes] = spawn(
            [self._programs / "postgres", "-D", self._data, *said],
            log=self._log,
            on_parent_death=signal.SIGQUIT,
            identity=self._identity,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.address.query("select 1")
            except EmbeddedServerError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(tail(self._log))

    def hold_back(self) -> None:
        """Show nothing new from now on."""
        self.address.query("select pg_wal_replay_pause()")
        while self.address.query("select pg_get_wal_replay_pause_state()") != "paused":
            time.sleep(0.02)

    def go_on(self) -> None:
        """Follow the primary again."""
        self.address.query("select pg_wal_replay_resume()")

    def kill(self) -> None:
        """End it as a crash would."""
        end(self._process, ())


@contextmanager
def standby(primary: PostgresAddress) -> Iterator[Standby]:
    """Yield a standby of the server, following it."""
    follower = Standby(primary, primary.directory.parent)
    try:
        yield follower
    finally:
        follower.kill()
