"""A Redis of our own in a directory: append-only, behind a generated password, stopped with its launcher."""

import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final

import redis
from redis.exceptions import RedisError

from mis_cli.embedded.binaries import redis_program
from mis_cli.embedded.locking import DirectoryLock
from mis_cli.embedded.processes import EmbeddedServerError, end, end_leftovers, free_port, spawn, tail
from mis_cli.embedded.secrets import generated

_USER: Final = "default"
_DATABASES: Final = 64
_ATTEMPTS: Final = 3
_PATIENCE_SECONDS: Final = 60.0


class EmbeddedRedis:
    """One Redis in one directory; `durable=False` writes nothing to disk, for tests."""

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = directory.resolve()
        self.durable = durable
        self._lock = DirectoryLock(self.directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def url(self) -> str:
        """The running server's `redis://` URL, on its first logical database."""
        return self.database_url(0)

    def database_url(self, number: int) -> str:
        """Return the URL of one of the 64 logical databases."""
        if self._url is None:
            raise EmbeddedServerError(f"The Redis in {self.directory} is not running: start() it first.")
        return f"{self._url}/{number}"

    def start(self) -> str:
        """Start the server and return its URL once it has loaded its data.

        Raises `EmbeddedServerError` where another launcher holds the directory or the server fails.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            self._url = self._start()
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Write everything out and stop; safe to call again."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash would, for tests of what survives one."""
        self._end()

    def __enter__(self) -> "EmbeddedRedis":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> str:
        end_leftovers(self.directory, ("redis", "valkey"), signal.SIGTERM)
        program = redis_program()
        password = generated(self.directory / "password.json", (_USER,))[_USER]
        for attempt in range(1, _ATTEMPTS + 1):
            port = free_port()
            url = f"redis://{_USER}:{password}@127.0.0.1:{port}"
            # The configuration goes in by standard input: an argument would show the password to every user.
            self._process = spawn(
                [program, "-"],
                log=self._log,
                on_parent_death=signal.SIGTERM,
                stdin=self._configuration(port, password),
            )
            if self._comes_up(url):
                return url
            time.sleep(0.2 * attempt)
        raise EmbeddedServerError(
            f"The embedded Redis does not start. Its log, {self._log}, ends:\n{tail(self._log)}"
        )

    @property
    def _log(self) -> Path:
        return self.directory / "redis.log"

    def _configuration(self, port: int, password: str) -> str:
        return "\n".join(
            [
                "bind 127.0.0.1",
                f"port {port}",
                f"requirepass {password}",
                f'dir "{self.directory}"',
                f"databases {_DATABASES}",
                f"appendonly {'yes' if self.durable else 'no'}",
                "appendfsync everysec",
                'save ""',
                "maxmemory-policy noeviction",
                "daemonize no",
                "",
            ]
        )

    def _comes_up(self, url: str) -> bool:
        process = self._process
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with redis.Redis.from_url(url, socket_timeout=5) as client:
            while process is not None and process.poll() is None and time.monotonic() < deadline:
                try:
                    # One that is still loading refuses this, and a stranger on the port knows no password.
                    if int(client.info("server")["process_id"]) == process.pid:
                        return True
                except RedisError:
                    pass
                time.sleep(0.02)
        self._terminate()
        return False

    def _terminate(self, *signals: signal.Signals) -> None:
        if self._process is not None:
            end(self._process, signals)
            self._process = None

    def _end(self, *signals: signal.Signals) -> None:
        self._terminate(*signals)
        self._url = None
        self._lock.release()
