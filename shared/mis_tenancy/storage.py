"""Object storage in which each tenant sees only what lies under `tenants/{its id}/`.

The prefix is the isolation: a store has no row-level security behind it. So nothing but a `TenantStorage`
makes paths, and it takes only keys that every store and file system spells in one way. What has several
spellings (dots, percent signs, Unicode, control characters) or several meanings (device names, temporary
files) is refused, not repaired. In a local store symbolic links are never followed, because they would
leave the prefix.

    ProblemError
    ├── ObjectNotFound 404 · ObjectKeyRefused 422
    └── StorageUnavailable 503
"""

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final
from uuid import UUID

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from mis_tenancy.errors import ProblemError
from mis_tenancy.identifiers import new_id
from mis_tenancy.objects import parts
from mis_tenancy.objects.local import LocalObjects
from mis_tenancy.objects.opening import StoreAccess, open_store
from mis_tenancy.postgres.connection import plain_uuid

log = structlog.get_logger(__name__)

LONGEST_KEY: Final = 512
_SEGMENT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?")
# Some systems take these names for devices, whatever follows the first dot.
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_TENANTS: Final = "tenants"
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_MIB: Final = 2**20
_PIECE: Final = 4 * _MIB
_KEYS_AT_ONCE: Final = 1_000
# Seconds that a probe may take before the store counts as away.
_PATIENCE: Final = 5.0


class ObjectNotFound(ProblemError):
    """The tenant has no object of that key."""

    status = 404
    code = "object_not_found"
    detail = "There is no such object."


class ObjectKeyRefused(ProblemError):
    """A key that could be read in more than one way, or that leaves its prefix."""

    status = 422
    code = "object_key_refused"
    detail = (
        "A key is segments of letters, digits, `.`, `_` and `-` that begin with a letter or digit, joined by "
        f"`/`, {LONGEST_KEY} characters at most."
    )


class StorageUnavailable(ProblemError):
    """The store did not do what it was asked."""

    status = 503
    code = "storage_unavailable"
    detail = "The object storage does not answer as it should. Try again in a moment."


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of an object; `size` is in bytes."""

    key: str
    size: int
    modified_at: datetime
    etag: str | None


class Storage:
    """The store behind `url`: `file:///a/directory`, `s3://bucket/prefix`, `gs://…` or `az://…`.

    A URL that cannot be a store, or `access` to one that takes none, raises SettingsError. `memory:///` keeps
    the objects in the process, for tests.
    """

    def __init__(self, url: str, access: StoreAccess | None = None) -> None:
        self._store, self.local = open_store(url, access or StoreAccess())

    def of(self, tenant_id: UUID) -> "TenantStorage":
        """Return the tenant's part of the store."""
        return TenantStorage(self._store, self.local, tenant_id)

    async def tenants(self) -> list[UUID]:
        """Return the tenants that have objects, in order: for work on the whole store."""
        with _wrapped(_TENANTS):
            if self.local is not None:
                names = await asyncio.to_thread(self.local.directories, _TENANTS)
            else:
                found = await obstore.list_with_delimiter_async(self._store, f"{_TENANTS}/")
                names = [prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"]]
        return sorted(UUID(name) for name in names if _UUID.fullmatch(name))

    async def check(self) -> None:
        """Write and delete an object of nobody's; raise StorageUnavailable where that fails."""
        path = f"checks/{new_id()}"
        async with _patience():
            with _wrapped(path):
                await obstore.put_async(self._store, path, b"check", use_multipart=False)
                await obstore.delete_async(self._store, path)


class TenantStorage:
    """One tenant's objects, by keys relative to its prefix.

    Every method raises ObjectKeyRefused before it asks the store, and StorageUnavailable where that fails.
    """

    def __init__(self, store: ObjectStore, local: LocalObjects | None, tenant_id: UUID) -> None:
        self._store = store
        self._local = local
        self.prefix: Final = f"{_TENANTS}/{plain_uuid(tenant_id)}"

    def path(self, key: str) -> str:
        """Return where `key` lies in the store, always under the prefix; raise ObjectKeyRefused."""
        segments = key.split("/")
        if len(key) > LONGEST_KEY or not all(_is_plain(segment) for segment in segments):
            raise ObjectKeyRefused
        path = f"{self.prefix}/{key}"
        if self._local is not None and self._local.has_link(path):
            log.error("storage.link_refused", path=path)
            raise ObjectKeyRefused("A symbolic link stands in the way of this key.")
        return path

    async def put(
        self, key: str, data: bytes | AsyncIterable[bytes], *, expected_bytes: int | None = None
    ) -> None:
        """Store the object; it is there whole or, where `data` raises, not at all.

        A stream is sent in parts, so that memory stays constant (`parts.memory_of`); `expected_bytes` sizes
        the parts of one beyond 40 GiB. What `data` raises passes through. Cancelled, it ends once the parts
        are taken back.
        """
        path = self.path(key)
        with _wrapped(path):
            if isinstance(data, bytes):
                await obstore.put_async(self._store, path, data, use_multipart=False)
                return
            await parts.put_stream(self._store, path, data, parts.part_of(expected_bytes))

    async def head(self, key: str) -> StoredObject:
        """Return what the store says of the object; raise ObjectNotFound."""
        path = self.path(key)
        with _wrapped(path):
            found = await obstore.head_async(self._store, path)
        return StoredObject(key, found["size"], found["last_modified"], found["e_tag"])

    async def get(self, key: str) -> bytes:
        """Return the whole object; for small ones. Raise ObjectNotFound."""
        path = self.path(key)
        with _wrapped(path):
            answer = await obstore.get_async(self._store, path)
            return bytes(await answer.bytes_async())

    async def read(
        self, stored: StoredObject, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the bytes `start` to before `stop` of what `head` has returned, in pieces.

        Each piece is a request of its own, so nothing is held open while a slow client reads. Raise
        StorageUnavailable where the object has been replaced meanwhile.
        """
        path = self.path(stored.key)
        end = stored.size if stop is None else min(stop, stored.size)
        for at in range(start, end, _PIECE):
            with _wrapped(path):
                answer = await obstore.get_async(
                    self._store,
                    path,
                    options={"range": (at, min(at + _PIECE, end)), "if_match": stored.etag},
                )
                piece = bytes(await answer.bytes_async())
            yield piece

    async def delete(self, key: str) -> None:
        """Delete the object, with what killed uploads left of it; one that is not there is no error."""
        path = self.path(key)
        with _wrapped(path):
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, path)
            if self._local is not None:
                await asyncio.to_thread(self._local.remove_drafts, path)

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Yield the objects under `prefix`, whole segments of a key or nothing for all."""
        below = self.path(prefix) if prefix else self.prefix
        if self._local is not None:
            found = self._local.walk(below)
            while batch := await asyncio.to_thread(lambda: list(islice(found, _KEYS_AT_ONCE))):
                for path, size, modified_at in batch:
                    yield StoredObject(path.removeprefix(f"{self.prefix}/"), size, modified_at, None)
            return
        with _wrapped(below):
            async for chunk in obstore.list(self._store, below, chunk_size=_KEYS_AT_ONCE):
                for one in chunk:
                    key = one["path"].removeprefix(f"{self.prefix}/")
                    yield StoredObject(key, one["size"], one["last_modified"], one["e_tag"])

    async def empty(self, prefix: str = "") -> int:
        """Delete all objects under `prefix`, or all the tenant's, and what killed uploads left there.

        Return how many objects were whole.
        """
        below = self.path(prefix) if prefix else self.prefix
        count = 0
        if self._local is not None:
            async for _ in self.list(prefix):
                count += 1
            await asyncio.to_thread(self._local.remove, below)
            return count
        with _wrapped(below):
            async for chunk in obstore.list(self._store, below, chunk_size=_KEYS_AT_ONCE):
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, [one["path"] for one in chunk])
                count += len(chunk)
        return count

    async def probe(self) -> None:
        """Write, read and delete an object under the prefix; raise StorageUnavailable where that fails."""
        key, content = f"probes/{new_id()}", b"probe"
        async with _patience():
            await self.put(key, content)
            try:
                if await self.get(key) != content:
                    raise StorageUnavailable("The object storage returned something else than was written.")
            finally:
                await self.delete(key)


def _is_plain(segment: str) -> bool:
    return _SEGMENT.fullmatch(segment) is not None and _DEVICE.fullmatch(segment) is None


@contextmanager
def _wrapped(path: str) -> Iterator[None]:
    """Turn the library's errors into ours, in the one file that knows it."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectNotFound from error
    except (BaseError, PermissionError) as error:
        log.warning("storage.failed", path=path, error=str(error).partition("\n")[0])
        raise StorageUnavailable from error


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    """Give a probe its time, the end of which is StorageUnavailable."""
    try:
        async with asyncio.timeout(_PATIENCE):
            yield
    except TimeoutError as error:
        raise StorageUnavailable(f"The object storage took longer than {_PATIENCE:g} s.") from error
