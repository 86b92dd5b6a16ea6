"""Objects out of the store into a directory and back, in pieces, with the hash of each.

The database is dumped first. An object that its rows name and that is deleted before it is copied is told
of; one that is written meanwhile is copied besides, and nobody names it. Names are never used twice, so what
is copied is what the rows mean.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID

import msgspec

from mis_cli.backups.errors import BackupFailed, BackupRefused
from mis_cli.backups.manifest import File, Hear, Objects, check_file, file_of
from mis_tenancy.storage import (
    ObjectKeyRefused,
    ObjectNotFound,
    Storage,
    StorageUnavailable,
    TenantStorage,
)

INDEX: Final = "objects.ndjson"
_DIRECTORY: Final = "objects"
_AT_ONCE: Final = 8
_TRIES: Final = 3
_PIECE: Final = 4 * 2**20

Work = Coroutine[Any, Any, None]


class Copied(msgspec.Struct, frozen=True):
    """One object of the backup, by its tenant and its key."""

    tenant: UUID
    key: str
    bytes: int
    sha256: str

    def place(self, directory: Path) -> Path:
        """Return where it lies in the backup."""
        return directory / _DIRECTORY / str(self.tenant) / self.key


async def copy_out(storage: Storage, tenants: Iterable[UUID], directory: Path, hear: Hear) -> Objects:
    """Copy all objects of `tenants`; `hear` is told of each object's bytes.

    Raise StorageUnavailable where they cannot be listed or copied, BackupFailed where one is none of ours.
    """
    count = size = 0
    gone: list[str] = []
    index = directory / INDEX
    with private(index) as lines:

        async def copy(tenant: UUID, key: str) -> None:
            nonlocal count, size
            copied = await _copy(storage.of(tenant), tenant, key, directory)
            if copied is None:
                gone.append(f"{tenant}/{key}")
                return
            lines.write(msgspec.json.encode(copied) + b"\n")
            count, size = count + 1, size + copied.bytes
            hear(copied.bytes)

        await _all(copy(tenant, key) async for tenant, key in _keys(storage, tenants))
        lines.flush()
        os.fsync(lines.fileno())
    if gone:
        # Where the whole bucket has gone, every object has, and this is no backup.
        await storage.tenants()
    return Objects(await asyncio.to_thread(file_of, index), count, size, gone)


async def _keys(storage: Storage, tenants: Iterable[UUID]) -> AsyncIterator[tuple[UUID, str]]:
    for tenant in tenants:
        async for stored in storage.of(tenant).list():
            yield tenant, stored.key


async def _all(works: AsyncIterator[Work]) -> None:
    """Do the works, some at once; after one has failed no other begins, and it is raised.

    Those under way come to their end: a thread of theirs that writes a file cannot be stopped, and whoever
    clears up after a failure must be the last.
    """
    free = asyncio.Semaphore(_AT_ONCE)
    failures: list[Exception] = []

    async def one(work: Work) -> None:
        try:
            await work
        except Exception as error:
            failures.append(error)
        finally:
            free.release()

    async with asyncio.TaskGroup() as group:
        try:
            async for work in works:
                await free.acquire()
                group.create_task(one(work))
                if failures:
                    break
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]


async def _copy(storage: TenantStorage, tenant: UUID, key: str, directory: Path) -> Copied | None:
    """Return what was copied, None where the object is gone."""
    place = Copied(tenant, key, 0, "").place(directory)
    for left in range(_TRIES - 1, -1, -1):
        try:
            stored = await storage.head(key)
            # Only now: what the store takes for a key stays below the directory as well.
            await asyncio.to_thread(place.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            digest, length = hashlib.sha256(), 0
            with private(place) as sink:
                async for piece in storage.read(stored):
                    digest.update(piece)
                    length += len(piece)
                    await asyncio.to_thread(sink.write, piece)
            if length != stored.size:
                raise StorageUnavailable("The object changed while it was read.")
            return Copied(tenant, key, length, digest.hexdigest())
        except ObjectNotFound:
            with suppress(FileNotFoundError):
                await asyncio.to_thread(place.unlink)
            return None
        except ObjectKeyRefused as error:
            raise BackupFailed(f"{tenant}/{key} in the store is none of ours: {error}") from error
        except StorageUnavailable as error:
            if not left:
                raise StorageUnavailable(f"The object {tenant}/{key} could not be copied: {error}") from error
    return None


def private(place: Path) -> BinaryIO:
    """Open a file of this user's only, anew."""
    return os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def listed(directory: Path) -> Iterator[Copied]:
    """Yield what the index lists; raise BackupRefused where it names what could not have been copied."""
    with (directory / INDEX).open("rb") as lines:
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=Copied)
            except msgspec.DecodeError as error:
                raise BackupRefused(f"{directory / INDEX} is damaged ({error}).") from error


def check_objects(storage: Storage, directory: Path, objects: Objects, hear: Hear) -> None:
    """Compare every copied object with its hash; raise BackupRefused before anything is put back.

    A key that leaves its prefix raises ObjectKeyRefused.
    """
    check_file(directory, INDEX, objects.index)
    count = 0
    for one in listed(directory):
        # Keys become paths on this machine, so they are judged as those of a stranger.
        storage.of(one.tenant).path(one.key)
        place = one.place(directory)
        if not place.is_file() or file_of(place) != File(place.name, one.bytes, one.sha256):
            raise BackupRefused(f"{place} is not what was written at the time: use another backup.")
        count += 1
        hear(one.bytes)
    if count != objects.count:
        raise BackupRefused(f"{directory / INDEX} lists {count} objects instead of {objects.count}.")


async def copy_in(storage: Storage, directory: Path, hear: Hear) -> None:
    """Put every copied object back; raise StorageUnavailable where the store does not take one."""

    async def one(copied: Copied) -> None:
        pieces = _pieces(copied.place(directory))
        await storage.of(copied.tenant).put(copied.key, pieces, expected_bytes=copied.bytes)
        hear(copied.bytes)

    async def works() -> AsyncIterator[Work]:
        for copied in listed(directory):
            yield one(copied)

    await _all(works())


async def _pieces(place: Path) -> AsyncIterator[bytes]:
    source = await asyncio.to_thread(place.open, "rb")
    with source:
        while piece := await asyncio.to_thread(source.read, _PIECE):
            yield piece


async def remove_others(storage: Storage, directory: Path, tenants: Iterable[UUID]) -> int:
    """Delete the objects of `tenants` that are not in the backup, and return how many.

    The rows that named them are no longer there.
    """
    others = 0
    for tenant in tenants:
        async for stored in storage.of(tenant).list():
            if not Copied(tenant, stored.key, 0, "").place(directory).is_file():
                await storage.of(tenant).delete(stored.key)
                others += 1
    return others
