"""Archives that are refused before anything is done with them: bombs, slips, lies and damage."""

import io
import json
import stat
import struct
import zlib
from collections.abc import Callable
from typing import Any
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_service.exports.data_types.users import USERS
from tenant_service.exports.formats import ExportFormat
from tenant_service.imports import inspection
from tenant_service.imports.archive import verified
from tenant_service.imports.errors import ArchiveBomb, ArchiveMalformed, ArchiveRefused
from tenant_service.imports.inspection import opened
from tenant_service.imports.row_readers import rows_in
from tests.answers import refused
from tests.suite import Suite, TenantHandle, UserHandle
from tests.tenant_service.exports import files_of
from tests.tenant_service.imports import archive_of, content_of, send, user_row, users_of, zipped

MIB = 2**20

SOMEBODY = UserHandle(uuid4(), "o@x.example", "", "", "", "owner")
TENANT = TenantHandle(uuid4(), "x", "custom", SOMEBODY, {})


def refusal_of(archive: bytes) -> ArchiveRefused:
    with pytest.raises(ArchiveRefused) as caught:
        verified(io.BytesIO(archive))
    return caught.value


def entry(name: str, mode: int = 0, **attributes: Any) -> ZipInfo:
    info = ZipInfo(name)
    info.external_attr = mode << 16
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


def with_entry(info: ZipInfo | str, content: bytes = b"x") -> bytes:
    return archive_of(TENANT, users=[], more={info: content})


def flagged(archive: bytes, bit: int) -> bytes:
    """Return the archive with a flag set on every entry, in the table of contents and before the data."""
    changed = bytearray(archive)
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = changed.find(mark)
        while at >= 0:
            changed[at + offset] |= bit
            at = changed.find(mark, at + 4)
    return bytes(changed)


def twice(name: str) -> bytes:
    file = io.BytesIO(archive_of(TENANT, users=[]))
    with pytest.warns(UserWarning, match="Duplicate name"), ZipFile(file, "a") as archive:
        archive.writestr(name, b"again")
    return file.getvalue()


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (with_entry("../etc/passwd"), "path"),
        (with_entry("/etc/passwd"), "path"),
        (with_entry("a/b.ndjson"), "path"),
        (with_entry("a\\b"), "path"),
        (with_entry("C:x"), "path"),
        (with_entry(".hidden"), "path"),
        (with_entry("caf\u00e9"), "path"),
        (with_entry("a\nb"), "path"),
        (with_entry("directory/", b""), "path"),
        (with_entry(entry("link", stat.S_IFLNK | 0o777), b"/etc/passwd"), "symlink"),
        (with_entry(entry("pipe", stat.S_IFIFO | 0o666)), "special"),
        (with_entry("inner.zip", zipped({"a": b"x"})), "nested"),
        (with_entry("inner.tar.GZ"), "nested"),
        (with_entry("stranger.txt"), "unexpected"),
        (with_entry("audit_logs.ndjson"), "unexpected"),
        (flagged(archive_of(TENANT, users=[]), 1), "encrypted"),
        (twice("users.ndjson"), "duplicate"),
    ],
)
def test_an_entry_that_no_export_has_is_refused_by_name(archive: bytes, reason: str) -> None:
    """Catalogue 115."""
    refusal = refusal_of(archive)
    assert (refusal.status, refusal.code, refusal.members["reason"]) == (422, "archive_unsafe", reason)
    assert len(refusal.members["entry"]) <= 100


def test_a_compression_that_no_export_has_is_refused() -> None:
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_LZMA) as archive:
        archive.writestr("manifest.json", b"{}")
    assert refusal_of(file.getvalue()).members["reason"] == "compression"


def bomb(size: int, name: str = "users.ndjson") -> bytes:
    """Return an archive whose file unpacks to `size` zeros."""
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=9) as archive, archive.open(name, "w") as member:
        for _ in range(size // MIB):
            member.write(bytes(MIB))
    return file.getvalue()


def overlapping(count: int) -> bytes:
    """Return an archive whose entries all unpack the same bytes (Fifield's kernel)."""
    kernel = zlib.compress(bytes(8 * MIB), 9)[2:-4]
    crc = zlib.crc32(bytes(8 * MIB))
    head = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, len(kernel), 8 * MIB, 1, 0) + b"a"
    data = head + kernel
    table = b"".join(
        struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\x01\x02", 20, 20, 0, 8, 0, 0, crc, len(kernel), 8 * MIB, 3, 0, 0, 0, 0, 0, 0),
        )
        + f"{number:03}".encode()
        for number in range(count)
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(table), len(data), 0)
    return data + table + end


def claiming(entries: int) -> bytes:
    """Return an archive that says it has `entries` entries."""
    archive = archive_of(TENANT, users=[])
    end = struct.unpack("<4s4H2LH", archive[-22:])
    return archive[:-22] + struct.pack("<4s4H2LH", *end[:3], entries, entries, *end[5:])


@pytest.mark.parametrize(
    "archive", [bomb(300 * MIB), overlapping(90), claiming(60_000)], ids=["ratio", "overlap", "entries"]
)
def test_a_bomb_is_refused_before_it_is_unpacked(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogue 115."""

    def unpacked(*_: object, **__: object) -> None:
        raise AssertionError("Something of the bomb was unpacked.")

    monkeypatch.setattr(ZipFile, "open", unpacked)
    refusal = refusal_of(archive)
    assert (refusal.status, refusal.code) == (422, "archive_bomb")


def test_a_million_entries_are_refused_before_their_table_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogue 115."""
    one = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    table = one * 1_000_000
    wide = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**6, 10**6, len(table), 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(table), 1)
    archives = [
        table
        + wide
        + locator
        + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0),
        # Few are claimed, and the table is as long as it is.
        table + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(table), 0, 0),
        # The plain end is modest, and the wide one before it is what a library would believe.
        table + wide + locator + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 47, 0, 0),
    ]

    def read(*_: object, **__: object) -> None:
        raise AssertionError("The table of contents was read.")

    monkeypatch.setattr(inspection, "ZipFile", read)
    assert {refusal_of(archive).code for archive in archives} <= {"archive_bomb", "archive_malformed"}


def test_a_size_that_is_a_lie_is_found_out_without_unpacking_more_than_it_claims() -> None:
    """Catalogue 115."""
    archive = bytearray(bomb(2 * MIB))
    at = archive.find(b"PK\x01\x02")
    archive[at + 24 : at + 28] = (100).to_bytes(4, "little")
    found = opened(io.BytesIO(bytes(archive)))
    with pytest.raises(ArchiveMalformed), inspection.readable():
        found.read("users.ndjson")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda one: one.update(schemaVersion=2), "schema_version_unsupported"),
        (lambda one: one.update(schemaVersion=0), "schema_version_unsupported"),
        (lambda one: one.update(schemaVersion="1"), "manifest_invalid"),
        (lambda one: one.pop("tenant"), "manifest_invalid"),
        (lambda one: one.update(format="xml"), "manifest_invalid"),
        (lambda one: one["files"].clear(), "archive_unsafe"),
        (lambda one: one["files"].append(one["files"][0]), "manifest_invalid"),
        (lambda one: one["files"][0].update(path="people.ndjson"), "manifest_invalid"),
        (lambda one: one["files"][0].update(dataType="usage"), "manifest_invalid"),
        (
            lambda one: one["files"].append(one["files"][0] | {"path": "usage.ndjson", "dataType": "usage"}),
            "manifest_invalid",
        ),
        (lambda one: one["files"][0].update(sha256="0" * 64), "checksum_mismatch"),
        (lambda one: one["files"][0].update(size=1), "checksum_mismatch"),
        (lambda one: one["files"][0].update(count=1), "count_mismatch"),
        (lambda one: one["counts"].update(users=1), "count_mismatch"),
        (lambda one: one["counts"].update(invoices=1), "count_mismatch"),
        (lambda one: (one["files"][0].update(count=1), one["counts"].update(users=1)), "count_mismatch"),
    ],
)
def test_a_manifest_that_lies_is_refused(change: Callable[[dict[str, Any]], None], code: str) -> None:
    """Catalogue 115."""
    archive = archive_of(TENANT, users=[user_row("a@x.example"), user_row("b@x.example")], change=change)
    refusal = refusal_of(archive)
    assert (refusal.status, refusal.code) == (422, code)


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"PK",
        b"not a zip at all" * 100,
        zipped({})[:-1],
        archive_of(TENANT, users=[])[:-30],
        archive_of(TENANT, users=[]) + b"trailing",
        b"leading" + archive_of(TENANT, users=[]),
        archive_of(TENANT, users=[])[:-2] + b"\x05\x00hello",
    ],
)
def test_what_is_no_plain_zip_file_is_refused(archive: bytes) -> None:
    assert refusal_of(archive).code == "archive_malformed"


def test_an_archive_without_a_manifest_is_refused() -> None:
    assert refusal_of(zipped({"users.ndjson": b""})).code == "manifest_invalid"
    assert refusal_of(zipped({"manifest.json": b"[" * 100_000})).code in ("manifest_invalid", "archive_bomb")
    assert refusal_of(zipped({"manifest.json": b"\xff"})).code == "manifest_invalid"


WHOLE = archive_of(TENANT, users=[user_row(f"{number}@x.example") for number in range(20)])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_one_changed_byte_is_refused_or_changes_nothing(position: int, flip: int) -> None:
    """Whatever is damaged, nothing but a refusal comes out, or exactly what went in."""
    damaged = bytearray(WHOLE)
    damaged[position] ^= flip
    rows = list(verified(io.BytesIO(WHOLE)).rows(USERS.extracts[0]))
    try:
        archive = verified(io.BytesIO(bytes(damaged)))
    except ArchiveRefused:
        return
    assert list(archive.rows(USERS.extracts[0])) == rows


def read(content: bytes, written_in: str) -> list[dict[str, Any]]:
    file = io.BytesIO(zipped({"users": content}))
    with ZipFile(file) as archive, archive.open("users") as member:
        return list(rows_in(member, ExportFormat(written_in), USERS.extracts[0]))


@pytest.mark.parametrize("written_in", ["json", "ndjson", "csv"])
def test_rows_come_back_as_they_were_written(written_in: str) -> None:
    rows = [user_row(f"{n}@x.example", name=f"Né {n} \U0001f600", attributes=None) for n in range(3000)]
    assert read(content_of(rows, written_in), written_in) == rows
    assert read(content_of([], written_in), written_in) == []


@pytest.mark.parametrize(
    ("written_in", "content"),
    [
        ("ndjson", b"[1]\n"),
        ("ndjson", b'{"a": 1\n'),
        ("ndjson", b'{"a": "' + b"x" * 2**20 + b'"}\n'),
        ("ndjson", b"\xff\n"),
        ("ndjson", b'{"a": ' + b"[" * 50_000),
        ("json", b""),
        ("json", b"{}"),
        ("json", b"[1]"),
        ("json", b'[{"a": 1}'),
        ("json", b'[{"a": 1},]'),
        ("json", b'[{"a": 1} {"a": 2}]'),
        ("json", b'[{"a": 1}] x'),
        ("json", b'[{"a": NaN}]'),
        ("json", b"[" + b'{"a": ' * 50_000),
        ("json", b'[{"a": "' + b"x" * 2**21),
        ("json", b'[{"a": "\xff"}]'),
        ("csv", b'id,name\r\n1,"open'),
        ("csv", b"id,name\r\n1\r\n"),
        ("csv", b"id,id\r\n1,2\r\n"),
        ("csv", b"id,attributes\r\n1,{\r\n"),
        ("csv", b"id,name\r\n1,\xff\r\n"),
        ("csv", b"id,name\r\n1," + b"x" * 2**21),
        ("csv", b"id,name\r\n" + b'"\n",' * 2**20),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_and_never_held_whole(
    written_in: str, content: bytes
) -> None:
    with pytest.raises(ArchiveMalformed):
        read(content, written_in)


@pytest.mark.parametrize("multipart", [False, True])
async def test_a_refused_archive_leaves_nothing_behind(suite: Suite, multipart: bool) -> None:
    """Catalogue 115."""
    tenant = await suite.tenant("custom")
    archive = archive_of(
        tenant, users=[user_row("a@x.example")], change=lambda one: one.update(schemaVersion=9)
    )
    document = refused(
        await send(suite, tenant, archive, multipart=multipart), 422, "schema_version_unsupported"
    )
    assert (document["schemaVersion"], document["supported"]) == (9, [1])
    refused(await send(suite, tenant, bomb(50 * MIB), dry_run=True, multipart=multipart), 422, "archive_bomb")
    assert set(await users_of(suite, tenant)) == {tenant.owner_email}
    assert await files_of(suite, tenant.id, "imports") == []
    listed = await suite.client.get(f"/api/v1/tenants/{tenant.id}/imports", headers=tenant.auth)
    assert listed.json() == []


def test_stored_files_are_as_good_as_compressed_ones() -> None:
    file = io.BytesIO()
    with ZipFile(io.BytesIO(WHOLE)) as source, ZipFile(file, "w", ZIP_STORED) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
    assert json.loads(verified(file).zip.read("manifest.json"))["counts"] == {"users": 20}
    with pytest.raises(ArchiveBomb):
        opened(io.BytesIO(bomb(120 * MIB)))
