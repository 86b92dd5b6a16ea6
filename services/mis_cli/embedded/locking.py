"""One launcher per directory: a lock that the kernel frees when its holder dies, however it dies."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from mis_cli.embedded.processes import EmbeddedServerError


class DirectoryLock:
    """Holds a directory for this process; the second to ask is refused with the holder's process id."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise `EmbeddedServerError` at once."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode().strip() or "unknown"
            os.close(descriptor)
            raise EmbeddedServerError(
                f"{self.path.parent} is in use by process {holder}. Stop that one, or choose another data "
                "directory (and port) to run a second instance beside it."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the directory free; the file stays, because removing it would race with the next holder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "DirectoryLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
