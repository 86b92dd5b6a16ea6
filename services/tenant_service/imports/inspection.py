"""Judges a zip file by its own table of contents, before anything of it is unpacked.

What a table of contents may claim is bounded first by what stands at the file's very end, because reading a
table of a million entries is already what an attacker wants. Exports are plain: a handful of files at the
top and the objects of media below `media/`, compressed or stored, no comment, no 64-bit table. Whatever
differs is refused and not repaired.
"""

import re
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from mis_accounts.places import PREFIX
from tenant_service.imports.errors import ArchiveBomb, ArchiveMalformed, ArchiveUnsafe

MIB: Final = 2**20
LARGEST_ARCHIVE: Final = 1024 * MIB
LARGEST_CONTENT: Final = 4096 * MIB
MOST_ENTRIES: Final = 10_000
# Rows of an export compress 10 to 30 times; what is small may be all alike.
_HIGHEST_RATIO: Final = 100
_SMALL: Final = MIB

_END: Final = struct.Struct("<4s4H2LH")
_END_MARK: Final = b"PK\x05\x06"
_WIDE_MARK: Final = b"PK\x06\x07"
_WIDE_BYTES: Final = 20
_LARGEST_TABLE: Final = MOST_ENTRIES * 512

_OBJECT: Final = re.compile(rf"{PREFIX}/[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")
_ENCRYPTED: Final = 0x1
_NESTED: Final = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".tar", ".jar", ".zst")
_LONGEST_SHOWN: Final = 100


def opened(file: IO[bytes]) -> ZipFile:
    """Return the archive in `file`, whose entries have been judged; raise ArchiveRefused."""
    size = _check_end(file)
    with readable():
        archive = ZipFile(file)
    _check_entries(archive.infolist(), size)
    return archive


def is_object(name: str) -> bool:
    """Return whether the entry is called as the object of a file is."""
    return _OBJECT.fullmatch(name) is not None


@contextmanager
def readable() -> Iterator[None]:
    """Turn what reading a damaged archive raises into ArchiveMalformed."""
    try:
        yield
    except (
        BadZipFile,
        EOFError,
        # How zipfile refuses a method of compression that it does not know.
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
        zlib.error,
    ) as error:
        raise ArchiveMalformed from error


def _check_end(file: IO[bytes]) -> int:
    """Return the file's size; raise unless it ends with a plain end of a table of contents that fits it."""
    size = file.seek(0, 2)
    if size < _END.size:
        raise ArchiveMalformed
    file.seek(max(0, size - _END.size - _WIDE_BYTES))
    tail = file.read()
    mark, disk, first_disk, here, entries, length, offset, comment = _END.unpack(tail[-_END.size :])
    if mark != _END_MARK or comment or disk or first_disk or here != entries:
        raise ArchiveMalformed
    if entries > MOST_ENTRIES or length > _LARGEST_TABLE:
        raise ArchiveBomb(f"The archive has more than {MOST_ENTRIES} entries.", entries=entries)
    wide = len(tail) == _END.size + _WIDE_BYTES and tail.startswith(_WIDE_MARK)
    if wide or offset + length != size - _END.size:
        raise ArchiveMalformed
    return size


def _check_entries(entries: Iterable[ZipInfo], size: int) -> None:
    seen: set[str] = set()
    packed = content = 0
    for entry in entries:
        _check_entry(entry)
        if entry.filename.lower() in seen:
            raise _unsafe(entry, "duplicate")
        seen.add(entry.filename.lower())
        packed += entry.compress_size
        content += entry.file_size
        if entry.file_size > max(_SMALL, _HIGHEST_RATIO * entry.compress_size):
            raise ArchiveBomb(entry=_shown(entry))
    # Entries that share their packed bytes claim more of them together than there are.
    if packed > size or content > max(_SMALL, _HIGHEST_RATIO * size):
        raise ArchiveBomb
    if content > LARGEST_CONTENT:
        raise ArchiveBomb(f"Unpacked the archive takes more than {LARGEST_CONTENT} bytes.")


def _check_entry(entry: ZipInfo) -> None:
    name = entry.filename
    # `orig_filename` is the name before anything behind a NUL was cut off.
    if name != entry.orig_filename:
        raise _unsafe(entry, "path")
    if not is_object(name) and ("/" in name or "\\" in name or ":" in name or name.startswith(".")):
        raise _unsafe(entry, "path")
    if not name.isascii() or not name.isprintable():
        raise _unsafe(entry, "path")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _unsafe(entry, "symlink" if kind == stat.S_IFLNK else "special")
    if entry.flag_bits & _ENCRYPTED:
        raise _unsafe(entry, "encrypted")
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise _unsafe(entry, "compression")
    if name.lower().endswith(_NESTED):
        raise _unsafe(entry, "nested")


def _unsafe(entry: ZipInfo, reason: str) -> ArchiveUnsafe:
    return ArchiveUnsafe(entry=_shown(entry), reason=reason)


def _shown(entry: ZipInfo) -> str:
    return entry.filename[:_LONGEST_SHOWN]
