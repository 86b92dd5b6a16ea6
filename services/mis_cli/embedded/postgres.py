"""A Postgres 18 of our own in a directory: made on first start, stopped with its launcher."""

import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from mis_cli.embedded.address import PostgresAddress
from mis_cli.embedded.binaries import postgres_programs
from mis_cli.embedded.cluster import SUPERUSER, Cluster, open_cluster
from mis_cli.embedded.locking import DirectoryLock
from mis_cli.embedded.processes import (
    EmbeddedServerError,
    end,
    end_leftovers,
    free_port,
    server_identity,
    spawn,
    tail,
)
from mis_cli.embedded.secrets import generated

_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_FORGETFUL: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# A port taken between asking and binding, or a killed server's memory not yet given back, passes by itself.
_ATTEMPTS: Final = 3
_PATIENCE_SECONDS: Final = 60.0


class EmbeddedPostgres:
    """One Postgres in one directory; `durable=False` trades crash safety for speed, for tests."""

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = directory.resolve()
        self.durable = durable
        self._lock = DirectoryLock(self.directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._address: PostgresAddress | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def address(self) -> PostgresAddress:
        """The running server's address."""
        if self._address is None:
            raise EmbeddedServerError(f"The Postgres in {self.directory} is not running: start() it first.")
        return self._address

    def start(self) -> PostgresAddress:
        """Start the server and return its address once it accepts connections.

        Raises `EmbeddedServerError` where another launcher holds the directory or the server fails.
        """
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            self._address = self._start()
        except BaseException:
            self.stop()
            raise
        return self._address

    def stop(self) -> None:
        """End the sessions, write everything out, stop; safe to call again."""
        self._end(signal.SIGINT, signal.SIGQUIT)

    def kill(self) -> None:
        """End the server as a crash would, for tests of what survives one."""
        self._end()

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> PostgresAddress:
        link = self.directory / "cluster"
        if link.exists():
            end_leftovers(link.resolve(), ("postgres",), signal.SIGINT)
            # With no process left the note of the last one only misleads, once its number is someone else's.
            (link / "postmaster.pid").unlink(missing_ok=True)
        identity = server_identity()
        programs = postgres_programs(identity)
        password = generated(self.directory / "superuser.json", (SUPERUSER,))[SUPERUSER]
        cluster = open_cluster(self.directory, programs, identity, password, durable=self.durable)
        for attempt in range(1, _ATTEMPTS + 1):
            port = free_port()
            self._process = spawn(
                [programs / "postgres", "-D", cluster.data, *self._options(cluster, port)],
                log=self._log,
                on_parent_death=signal.SIGINT,
                identity=identity,
            )
            if self._comes_up(cluster.data / "postmaster.pid"):
                return PostgresAddress(self.directory, port, cluster.sockets, password)
            time.sleep(0.2 * attempt)
        raise EmbeddedServerError(
            f"The embedded Postgres does not start. Its log, {self._log}, ends:\n{tail(self._log)}"
        )

    @property
    def _log(self) -> Path:
        return self.directory / "postgres.log"

    def _options(self, cluster: Cluster, port: int) -> list[str]:
        settings = {
            **_SETTINGS,
            **({} if self.durable else _FORGETFUL),
            "port": str(port),
            "unix_socket_directories": str(cluster.sockets or ""),
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _comes_up(self, pid_file: Path) -> bool:
        # The server writes its state as the eighth line of its own note, the way `pg_ctl --wait` reads it.
        process = self._process
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while process is not None and process.poll() is None and time.monotonic() < deadline:
            lines = pid_file.read_text().splitlines() if pid_file.exists() else []
            if len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return True
            time.sleep(0.02)
        self._terminate()
        return False

    def _terminate(self, *signals: signal.Signals) -> None:
        if self._process is not None:
            end(self._process, signals)
            self._process = None

    def _end(self, *signals: signal.Signals) -> None:
        self._terminate(*signals)
        self._address = None
        self._lock.release()
