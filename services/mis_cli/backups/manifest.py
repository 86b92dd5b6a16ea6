"""What a backup says of itself: written last, so that a directory without it is no backup."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from mis_cli.backups.errors import BackupRefused
from mis_cli.embedded import DirectoryLock
from mis_cli.embedded.secrets import write_private

FORMAT: Final = 1
_NAME: Final = "manifest.json"
_PIECE: Final = 4 * 2**20

Hear = Callable[[int], None]
Kind = TypeVar("Kind", "Manifest", "TenantManifest")


class File(msgspec.Struct, frozen=True, rename="camel"):
    """A file of the backup."""

    name: str
    bytes: int
    sha256: str


class Objects(msgspec.Struct, frozen=True, rename="camel"):
    """The copied objects, which `index` lists one a line; `gone` were deleted while they were copied."""

    index: File
    count: int
    bytes: int
    gone: list[str]


class Manifest(msgspec.Struct, frozen=True, rename="camel", tag="deployment"):
    """A backup of a whole deployment.

    `rows` counts by table what the dump holds. `master_keys` are the ids, never the keys, without which
    nothing encrypted in it can be read.
    """

    format: int
    created_at: str
    revision: str
    server: str
    programs: str
    master_keys: list[str]
    tenants: int
    rows: dict[str, int]
    dump: File
    objects: Objects

    @property
    def whose(self) -> str | None:
        """The id of the one tenant whose it is; None, as it is everybody's."""
        return None


class TenantManifest(msgspec.Struct, frozen=True, rename="camel", tag="tenant"):
    """A backup of one tenant; `columns` are each table's in the order in which `rows` files have them."""

    format: int
    created_at: str
    revision: str
    master_keys: list[str]
    tenant: dict[str, Any]
    columns: dict[str, list[str]]
    rows: dict[str, int]
    files: dict[str, File]
    objects: Objects

    @property
    def whose(self) -> str | None:
        """The id of the one tenant whose it is."""
        return str(self.tenant["id"])


def file_of(path: Path, hear: Hear | None = None) -> File:
    """Return the file's name, length and hash; `hear` is told of bytes as they are read."""
    digest, length = hashlib.sha256(), 0
    with path.open("rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
            length += len(piece)
            if hear is not None:
                hear(len(piece))
    return File(path.name, length, digest.hexdigest())


def check_file(directory: Path, name: str, file: File, hear: Hear | None = None) -> None:
    """Raise BackupRefused where the file of that name is not what the manifest says."""
    path = directory / name
    if not path.is_file():
        raise BackupRefused(f"{path} is missing, so this backup is not whole. Use another one.")
    if file_of(path, hear) != file:
        raise BackupRefused(f"{path} is not what was written at the time: use another backup.")


def read_manifest(directory: Path, kind: type[Kind]) -> Kind:
    """Return the manifest of a backup of that kind; raise BackupRefused."""
    found = read_any_manifest(directory)
    if not isinstance(found, kind):
        other = "of one tenant: name it by --tenant" if isinstance(found, TenantManifest) else "of the whole"
        raise BackupRefused(f"{directory} is a backup {other}.")
    return found


def read_any_manifest(directory: Path) -> Manifest | TenantManifest:
    """Return the manifest of a backup of either kind; raise BackupRefused."""
    path = directory / _NAME
    if not path.is_file():
        raise BackupRefused(f"{directory} is no finished backup: it has no {_NAME}.")
    try:
        found: Manifest | TenantManifest = msgspec.json.decode(
            path.read_bytes(), type=Manifest | TenantManifest
        )
    except msgspec.DecodeError as error:
        raise BackupRefused(f"{path} cannot be read ({error}).") from error
    if found.format != FORMAT:
        raise BackupRefused(f"{directory} has the format {found.format}; this program reads {FORMAT}.")
    return found


@contextmanager
def growing(target: Path) -> Iterator[Path]:
    """Yield the directory `target.partial`, to be filled and `finish`ed; one that is not is removed.

    What a killed run left of the same name is removed first. Raise BackupRefused where `target` exists.
    """
    if target.exists():
        raise BackupRefused(f"{target} exists. A backup is never written over: choose another directory.")
    draft = _partial(target)
    draft.mkdir(mode=0o700, parents=True, exist_ok=True)
    with DirectoryLock(draft):
        _empty(draft)
        try:
            yield draft
        finally:
            # Interrupted, a thread may still be writing: what it leaves is the next run's to remove.
            with suppress(OSError):
                _empty(draft)
                (draft / "lock").unlink()
                draft.rmdir()


def finish(draft: Path, manifest: Manifest | TenantManifest) -> None:
    """Give the backup its manifest and its name, in this order and on the disk."""
    write_private(draft / _NAME, msgspec.json.format(msgspec.json.encode(manifest)).decode())
    (draft / "lock").unlink()
    _sync(draft)
    draft.rename(draft.with_name(draft.name.removesuffix(".partial")))
    _sync(draft.parent)


def remove(backup: Path) -> None:
    """Remove a backup; stopped anywhere, what is left does not look like one."""
    backup.rename(_partial(backup))
    _empty(_partial(backup))
    _partial(backup).rmdir()


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial")


def _empty(directory: Path) -> None:
    for root, names, files in os.walk(directory, topdown=False):
        for name in files:
            if Path(root, name) != directory / "lock":
                Path(root, name).unlink()
        for name in names:
            Path(root, name).rmdir()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
