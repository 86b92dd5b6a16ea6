"""A directory as an object store sees it: regular files below it, and nothing a symbolic link leads to."""

import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

Found = tuple[str, int, datetime]


class LocalObjects:
    """The directory `root`, made private to this user where it does not exist.

    Paths are relative, of plain segments joined by `/`. The root itself may be a link, as that is the
    operator's choice; nothing below it may. A root that cannot be one raises ValueError or OSError.
    """

    def __init__(self, root: str, host: str = "") -> None:
        if host not in ("", "localhost") or not root.strip("/"):
            raise ValueError("a file URL needs three slashes and the absolute path of a directory")
        self.root = Path(root)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def has_link(self, path: str) -> bool:
        """Return whether a symbolic link stands at `path` or anywhere between it and the root."""
        at = self.root
        for segment in path.split("/"):
            at = at / segment
            try:
                if stat.S_ISLNK(at.lstat().st_mode):
                    return True
            except (FileNotFoundError, NotADirectoryError):
                return False
        return False

    def walk(self, below: str) -> Iterator[Found]:
        """Yield path, size in bytes and time of each file below; those still being written are left out."""
        if self.has_link(below):
            return
        for directory, names, files in os.walk(self.root / below, followlinks=False):
            names.sort()
            for name in sorted(files):
                file = Path(directory, name)
                try:
                    seen = file.lstat()
                except FileNotFoundError:
                    # It was deleted since the directory was read.
                    continue
                if stat.S_ISREG(seen.st_mode) and "#" not in name:
                    moment = datetime.fromtimestamp(seen.st_mtime, UTC)
                    yield file.relative_to(self.root).as_posix(), seen.st_size, moment

    def directories(self, below: str) -> list[str]:
        """Return the names of the directories right below, none where there is no such place."""
        if self.has_link(below) or not (self.root / below).is_dir():
            return []
        with os.scandir(self.root / below) as found:
            return [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]

    def remove(self, below: str) -> None:
        """Remove the directory with all that lies in it; of a link only the link itself."""
        place = self.root / below
        if place.is_symlink():
            place.unlink()
        elif not self.has_link(below) and place.exists():
            shutil.rmtree(place)

    def remove_drafts(self, path: str) -> None:
        """Remove what was being written to `path` when a process was killed: `path#1` and so on."""
        for number in count(1):
            draft = self.root / f"{path}#{number}"
            if not draft.is_file() or draft.is_symlink():
                return
            draft.unlink(missing_ok=True)
