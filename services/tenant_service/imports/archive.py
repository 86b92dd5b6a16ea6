"""An archive that has been verified: its manifest first, then each file against it, then what may be read.

Nothing is parsed that the manifest does not vouch for. The digests show damage and carelessness; they prove
no origin, so every row is still judged by the rules of the API.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final
from uuid import UUID
from zipfile import ZipFile

import msgspec

from mis_accounts.places import object_of
from tenant_service.exports.data_types.media import MEDIA
from tenant_service.exports.data_types.registry import DATA_TYPES
from tenant_service.exports.data_types.shape import DataTypeName, Extract
from tenant_service.exports.manifest import MANIFEST, SCHEMA_VERSION, ArchivedFile, Manifest
from tenant_service.imports.errors import (
    ArchiveUnsafe,
    ChecksumMismatch,
    CountMismatch,
    ManifestInvalid,
    SchemaVersionUnsupported,
)
from tenant_service.imports.inspection import is_object, opened, readable
from tenant_service.imports.row_readers import Row, rows_in
from tenant_service.imports.rows import media_of

_LARGEST_MANIFEST: Final = 2**20
_CHUNK: Final = 2**20


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int


@dataclass(frozen=True, slots=True)
class Archive:
    """A verified archive, to be read as long as its file is open."""

    zip: ZipFile
    manifest: Manifest

    def rows(self, extract: Extract) -> Iterator[Row]:
        """Yield the rows of the extract's file; none where the archive has no such file."""
        path = f"{extract.name}.{self.manifest.format.value}"
        if path not in self.zip.NameToInfo:
            return
        with readable(), self.zip.open(path) as member:
            yield from rows_in(member, self.manifest.format, extract)

    @contextmanager
    def object(self, media_id: UUID) -> Iterator[IO[bytes]]:
        """Yield the object of a file, to be read."""
        with readable(), self.zip.open(object_of(media_id)) as member:
            yield member


def verified(file: IO[bytes]) -> Archive:
    """Return the archive in `file`; raise ArchiveRefused where anything in it is not as an export is.

    It reads every file twice and writes nothing, so it may be run in a thread.
    """
    found = opened(file)
    archive = Archive(found, _manifest(found))
    extracts = _files(archive)
    for path, (described, _) in extracts.items():
        _check_content(found, path, described)
    for path, (described, extract) in extracts.items():
        count = sum(1 for _ in archive.rows(extract))
        if count != described.count:
            raise CountMismatch(file=path, expected=described.count, found=count)
    _check_objects(archive)
    return archive


def _manifest(archive: ZipFile) -> Manifest:
    if MANIFEST not in archive.NameToInfo or archive.getinfo(MANIFEST).file_size > _LARGEST_MANIFEST:
        raise ManifestInvalid
    with readable():
        text = archive.read(MANIFEST)
    try:
        version = msgspec.json.decode(text, type=_Version).schema_version
        if version != SCHEMA_VERSION:
            raise SchemaVersionUnsupported(schemaVersion=version, supported=[SCHEMA_VERSION])
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ManifestInvalid from error


def _files(archive: Archive) -> dict[str, tuple[ArchivedFile, Extract]]:
    """Return what the manifest says of each file by its path; raise unless exactly those files are there."""
    manifest = archive.manifest
    known = {
        f"{extract.name}.{manifest.format.value}": (data_type.name, extract)
        for data_type in DATA_TYPES.values()
        for extract in data_type.extracts
    }
    described: dict[str, tuple[ArchivedFile, Extract]] = {}
    for file in manifest.files:
        if file.path in described or file.path not in known or known[file.path][0] != file.data_type:
            raise ManifestInvalid
        described[file.path] = (file, known[file.path][1])
    present = {name for name in archive.zip.NameToInfo if not is_object(name)} - {MANIFEST}
    if unexpected := sorted(present - set(described)):
        raise ArchiveUnsafe(entry=unexpected[0][:100], reason="unexpected")
    if set(described) - present:
        raise ManifestInvalid("manifest.json describes a file that is not in the archive.")
    _check_counts(manifest)
    return described


def _check_counts(manifest: Manifest) -> None:
    """Raise CountMismatch unless the rows of each data type are those of its own file."""
    counted = {file.path.partition(".")[0]: file.count for file in manifest.files}
    own = {name: counted.get(name.value, 0) for name in DataTypeName}
    for name, count in own.items():
        if manifest.counts.get(name, 0) != count:
            raise CountMismatch(dataType=name.value, expected=manifest.counts.get(name, 0), found=count)


def _check_objects(archive: Archive) -> None:
    """Raise unless there is an object for each file, the one that its row describes, and no other."""
    unclaimed = {name for name in archive.zip.NameToInfo if is_object(name)}
    for extract in MEDIA.extracts:
        for row in archive.rows(extract):
            media = media_of(row)
            if media is None:
                continue
            path = object_of(media.id)
            if path not in unclaimed:
                raise ManifestInvalid("A file of the archive has no object, or two rows are of one file.")
            unclaimed.discard(path)
            _check_entry(archive.zip, path, media.size, media.sha256)
    if unclaimed:
        raise ArchiveUnsafe(entry=min(unclaimed), reason="unexpected")


def _check_content(archive: ZipFile, path: str, described: ArchivedFile) -> None:
    _check_entry(archive, path, described.size, described.sha256)


def _check_entry(archive: ZipFile, path: str, expected_size: int, sha256: str) -> None:
    digest, size = hashlib.sha256(), 0
    if archive.getinfo(path).file_size != expected_size:
        raise ChecksumMismatch(file=path)
    with readable(), archive.open(path) as member:
        while chunk := member.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    if size != expected_size or digest.hexdigest() != sha256.lower():
        raise ChecksumMismatch(file=path)
