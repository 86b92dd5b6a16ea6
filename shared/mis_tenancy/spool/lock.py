"""Who may touch a spool directory: the process that holds its lock, and after its death the next one.

The lock is the kernel's (flock), so it falls with its process, however that dies, and a process id that is
used again fools nobody.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

_LOCK: Final = "lock"


class SpoolLock:
    """The right to a spool directory, held until `release` or `remove`."""

    def __init__(self, home: Path, descriptor: int) -> None:
        self._home = home
        self._descriptor = descriptor

    @classmethod
    def claim(cls, home: Path) -> "SpoolLock | None":
        """Return the lock of the directory `home`, or None while somebody holds it or when it has gone."""
        try:
            descriptor = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            return None
        lock = cls(home, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.release()
            return None
        # Between the opening and the locking, the last holder may have removed the directory with the file in
        # it.
        if not lock.is_in_place:
            lock.release()
            return None
        return lock

    def release(self) -> None:
        """Leave the directory to whoever claims it next."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Delete the directory, which must hold nothing else any more, and give up the lock."""
        (self._home / _LOCK).unlink(missing_ok=True)
        try:
            self._home.rmdir()
        except OSError:
            # Somebody has just put a new lock file into it. They find nothing to drain and delete it in their
            # turn.
            pass
        finally:
            self.release()

    @property
    def is_in_place(self) -> bool:
        """Whether the directory is still there, with the very file in it that is locked."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._home / _LOCK))
        except FileNotFoundError:
            return False
