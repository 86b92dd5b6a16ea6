"""Writes an archive as a stream: rows go in, pieces of a zip file come out, and little is held in between.

The zip is written to something that cannot seek, so sizes stand behind each file and not before it; every
reader of zip files takes that. Compressing is work for a thread: the worker's loop has leases to keep.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, Final
from uuid import UUID
from zipfile import ZIP_DEFLATED, ZipFile

from mis_accounts.places import object_of
from mis_tenancy.session import TenantSession
from mis_tenancy.storage import ObjectNotFound, TenantStorage
from tenant_service.exports import reading_repository as reading
from tenant_service.exports.data_types.media import OBJECTS
from tenant_service.exports.data_types.shape import DataType, DataTypeName, Extract
from tenant_service.exports.formats import WRITERS, ExportFormat, Writer
from tenant_service.exports.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    ArchivedFile,
    ArchivedTenant,
    Manifest,
    written,
)

_PIECE: Final = 2**18

Told = Callable[[int], Awaitable[None]]


class _Sink:
    """The file that a ZipFile writes to: without a position, and emptied as it fills."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.waiting = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self.waiting += len(data)
        return len(data)

    def flush(self) -> None:
        """Have nothing to do; ZipFile asks for it."""

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        self.waiting = 0
        return taken


@dataclass(slots=True)
class _OpenFile:
    """A file of the archive that is being written, and what the manifest will say of it."""

    member: IO[bytes]
    writer: Writer
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    count: int = 0

    def put(self, data: bytes) -> None:
        self.digest.update(data)
        self.size += len(data)
        self.member.write(data)

    def put_rows(self, rows: Sequence[Sequence[Any]]) -> None:
        self.put(self.writer.rows(rows))
        self.count += len(rows)


@dataclass(frozen=True, slots=True)
class Heading:
    """What an archive says of itself beside its files."""

    export_id: UUID
    tenant: ArchivedTenant
    created_at: datetime
    format: ExportFormat


class ArchiveWriter:
    """Writes the `types` that the snapshot `session` shows, and calls `told` with what is written so far."""

    def __init__(
        self,
        session: TenantSession,
        storage: TenantStorage,
        heading: Heading,
        types: Sequence[DataType],
        told: Told,
    ) -> None:
        self._session = session
        self._storage = storage
        self._heading = heading
        self._types = types
        self._told = told
        self._files: list[ArchivedFile] = []
        self._rows = 0
        self._gone: set[UUID] = set()
        self.size = 0
        self._digest = hashlib.sha256()

    @property
    def counts(self) -> dict[DataTypeName, int]:
        """How many rows of each type have been written, a type's own file alone."""
        counted = {one.path.partition(".")[0]: one.count for one in self._files}
        return {one.name: counted.get(one.name.value, 0) for one in self._types}

    @property
    def sha256(self) -> str:
        """The digest of the whole archive, once it has been written."""
        return self._digest.hexdigest()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the archive."""
        sink = _Sink()
        archive = ZipFile(sink, "w", ZIP_DEFLATED)  # type: ignore[call-overload]  # it asks for no more than write
        for data_type in self._types:
            if data_type.has_objects:
                async with aclosing(self._objects(archive, sink)) as objects:
                    async for piece in objects:
                        yield self._counted(piece)
            for extract in data_type.extracts:
                async with aclosing(self._file(archive, sink, data_type.name, extract)) as file:
                    async for piece in file:
                        yield self._counted(piece)
        archive.writestr(MANIFEST, written(self._manifest()))
        archive.close()
        yield self._counted(sink.take())

    async def _objects(self, archive: ZipFile, sink: _Sink) -> AsyncGenerator[bytes, None]:
        # Files are compressed already as a rule. Level 0 keeps the form that can be read as a stream.
        archive.compresslevel = 0
        async for ids in reading.pages(self._session, OBJECTS):
            for (media_id,) in ids:
                async with aclosing(self._object(archive, sink, media_id)) as pieces:
                    async for piece in pieces:
                        yield piece
        archive.compresslevel = None

    async def _object(self, archive: ZipFile, sink: _Sink, media_id: UUID) -> AsyncGenerator[bytes, None]:
        try:
            stored = await self._storage.head(object_of(media_id))
        except ObjectNotFound:
            # It was deleted since the snapshot, which its row will not tell.
            self._gone.add(media_id)
            return
        with archive.open(object_of(media_id), "w", force_zip64=True) as member:
            async for piece in self._storage.read(stored):
                await asyncio.to_thread(member.write, piece)
                await self._told(self._rows)
                if sink.waiting >= _PIECE:
                    yield sink.take()
        self._rows += 1

    async def _file(
        self, archive: ZipFile, sink: _Sink, name: DataTypeName, extract: Extract
    ) -> AsyncGenerator[bytes, None]:
        path = f"{extract.name}.{self._heading.format.value}"
        with archive.open(path, "w", force_zip64=True) as member:
            file = _OpenFile(member, WRITERS[self._heading.format](extract))
            file.put(file.writer.begin())
            async for rows in reading.pages(self._session, extract):
                kept = [row for row in rows if row[0] not in self._gone] if self._gone else rows
                await asyncio.to_thread(file.put_rows, kept)
                self._rows += len(rows)
                await self._told(self._rows)
                if sink.waiting >= _PIECE:
                    yield sink.take()
            file.put(file.writer.end())
        self._files.append(ArchivedFile(path, name, file.count, file.size, file.digest.hexdigest()))

    def _counted(self, piece: bytes) -> bytes:
        self._digest.update(piece)
        self.size += len(piece)
        return piece

    def _manifest(self) -> Manifest:
        return Manifest(
            schema_version=SCHEMA_VERSION,
            export_id=self._heading.export_id,
            tenant=self._heading.tenant,
            created_at=self._heading.created_at,
            format=self._heading.format,
            counts=self.counts,
            files=self._files,
        )
