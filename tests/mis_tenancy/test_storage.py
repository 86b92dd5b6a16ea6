"""Object storage on a real directory (and in memory, as a store without directories): prefixes that hold."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_tenancy.identifiers import new_id
from mis_tenancy.objects.opening import StoreAccess
from mis_tenancy.settings import SettingsError
from mis_tenancy.storage import (
    ObjectKeyRefused,
    ObjectNotFound,
    Storage,
    StorageUnavailable,
    StoredObject,
    TenantStorage,
)

MIB = 2**20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a store"


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, root: Path) -> Storage:
    return Storage(root.as_uri() if request.param == "file" else "memory:///")


@pytest.fixture
def own(storage: Storage) -> TenantStorage:
    return storage.of(new_id())


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def keys(storage: TenantStorage, prefix: str = "") -> list[str]:
    return [stored.key async for stored in storage.list(prefix)]


def files_in(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def replace_by_file(root: Path) -> None:
    root.rmdir()
    root.write_text("a file where the directory was")


def leave_a_draft(directory: Path) -> None:
    """Leave what a killed upload leaves, where the store has directories."""
    if directory.exists():
        (directory / "big#1").write_bytes(b"half")


async def content(storage: TenantStorage, stored: StoredObject, *bounds: int) -> bytes:
    return b"".join([piece async for piece in storage.read(stored, *bounds)])


async def test_what_is_put_is_found_read_and_deleted(own: TenantStorage) -> None:
    await own.put("media/one.png", b"0123456789")
    stored = await own.head("media/one.png")
    assert (stored.key, stored.size) == ("media/one.png", 10)
    assert stored.etag
    assert await own.get("media/one.png") == b"0123456789"
    assert await content(own, stored, 2, 5) == b"234"
    assert await content(own, stored, 8, 99) == b"89"
    assert await content(own, stored, 10) == b""
    await own.delete("media/one.png")
    await own.delete("media/one.png")
    for missing in (own.head, own.get):
        with pytest.raises(ObjectNotFound):
            await missing("media/one.png")


async def test_a_stream_is_stored_in_parts_and_read_in_pieces(own: TenantStorage) -> None:
    data = [bytes([number]) * MIB for number in range(13)]
    await own.put("big", pieces(*data), expected_bytes=13 * MIB)
    stored = await own.head("big")
    assert stored.size == 13 * MIB
    read = [piece async for piece in own.read(stored)]
    assert b"".join(read) == b"".join(data)
    assert max(map(len, read)) <= 4 * MIB


@pytest.mark.parametrize("before", [0, 1, 12])
async def test_a_stream_that_fails_leaves_nothing_and_its_error_passes(
    own: TenantStorage, root: Path, before: int
) -> None:
    """Catalogue 113."""

    async def failing() -> AsyncIterator[bytes]:
        for _ in range(before):
            yield b"x" * MIB
        raise LookupError("the client went away")

    with pytest.raises(LookupError, match="went away"):
        await own.put("half", failing())
    with pytest.raises(ObjectNotFound):
        await own.head("half")
    assert not files_in(root)


async def test_a_cancelled_put_leaves_nothing(own: TenantStorage, root: Path) -> None:
    """Catalogue 113."""
    began = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 12 * MIB
        began.set()
        await asyncio.Event().wait()

    putting = asyncio.ensure_future(own.put("half", endless()))
    await began.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    with pytest.raises(ObjectNotFound):
        await own.head("half")


async def test_an_object_replaced_while_it_is_read_is_not_mixed(own: TenantStorage) -> None:
    await own.put("big", pieces(*[b"a" * MIB] * 9))
    reading = own.read(await own.head("big"))
    assert set(await anext(reading)) == {ord("a")}
    await own.put("big", pieces(*[b"b" * MIB] * 10))
    with pytest.raises(StorageUnavailable):
        await anext(reading)


REFUSED = [
    *("", ".", "..", "../x", "a/../../x", "a/..", "./a", "a/./b", "/abs", "a//b", "a/", "//", "~/x"),
    *("..%2f..%2fx", "%2e%2e/x", "a%00", "a\x00b", "a\nb", "a\tb", "a b", "a\u2028b", "a\x7f"),
    *("C:\\x", "C:/x", "\\\\host\\x", "..\\x", "a:stream", "a?b", "a*", "a#1", "a|b", '"a"', "<a>"),
    *("cafe\u0301", "café", "\uff0e\uff0e/x", "a\u200b", "\u202egnp"),
    *("con", "NUL", "a/com1.txt", "lpt9", "aux.tar.gz", "a.", ".hidden", "-rf", "_x"),
    *("x" * 129, "x/" * 256 + "x", "y" * 10_000),
]


@pytest.mark.parametrize("key", REFUSED, ids=ascii)
async def test_a_key_with_more_than_one_reading_is_refused_before_the_store_is_asked(
    own: TenantStorage, root: Path, key: str
) -> None:
    """Catalogue 110."""
    with pytest.raises(ObjectKeyRefused) as caught:
        await own.put(key, b"x")
    assert caught.value.status == 422
    for ask in (own.head, own.get, own.delete):
        with pytest.raises(ObjectKeyRefused):
            await ask(key)
    if key:
        with pytest.raises(ObjectKeyRefused):
            await keys(own, key)
    assert not files_in(root)


@given(st.text(max_size=40) | st.lists(st.sampled_from([*"a.A/%", "..", "#1"])).map("".join))
def test_whatever_the_key_its_path_lies_under_the_tenants_prefix(key: str) -> None:
    """Catalogue 110."""
    tenant = UUID(int=1)
    own = Storage("memory:///").of(tenant)
    try:
        path = own.path(key)
    except ObjectKeyRefused:
        return
    assert path == f"tenants/{tenant}/{key}"
    assert path.isascii()
    assert not {"", ".", ".."} & set(path.split("/"))


async def test_one_tenant_reaches_nothing_of_another(storage: Storage) -> None:
    """Catalogue 111."""
    one, ten = storage.of(UUID(int=0x1)), storage.of(UUID(int=0x10))
    await one.put("media/a", b"one")
    await ten.put("media/a", b"ten")
    assert await one.get("media/a") == b"one"
    assert await keys(one) == await keys(ten) == ["media/a"]
    assert await one.empty() == 1
    assert (await keys(one), await keys(ten)) == ([], ["media/a"])
    with pytest.raises(ObjectKeyRefused):
        await one.get(f"../{ten.prefix.removeprefix('tenants/')}/media/a")


async def test_a_prefix_is_whole_segments(own: TenantStorage) -> None:
    """Catalogue 111."""
    for key in ("exports/1/a", "exports/10/b", "exports-old/c", "top"):
        await own.put(key, b"x")
    assert sorted(await keys(own, "exports/1")) == ["exports/1/a"]
    assert sorted(await keys(own, "exports")) == ["exports/1/a", "exports/10/b"]
    assert sorted(await keys(own)) == ["exports-old/c", "exports/1/a", "exports/10/b", "top"]
    assert await keys(own, "nothing") == []


async def test_a_tenants_id_cannot_spell_itself_as_a_path(storage: Storage) -> None:
    class Hostile(UUID):
        def __str__(self) -> str:
            return "../../etc"

    assert storage.of(Hostile(int=5)).prefix == f"tenants/{UUID(int=5)}"


def _link_to_file(place: Path, secret: Path) -> None:
    place.symlink_to(secret / "secret")


def _link_to_directory(place: Path, secret: Path) -> None:
    place.symlink_to(secret)


@pytest.mark.parametrize(
    ("link", "key"), [(_link_to_file, "media/link"), (_link_to_directory, "media/link/secret")]
)
async def test_a_symbolic_link_is_not_followed(
    root: Path, tmp_path: Path, link: Callable[[Path, Path], None], key: str
) -> None:
    """Catalogue 110."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("theirs")
    storage = Storage(root.as_uri())
    own = storage.of(new_id())
    await own.put("media/mine", b"mine")
    link(root / own.prefix / "media" / "link", outside)
    for ask in (own.head, own.get, own.delete):
        with pytest.raises(ObjectKeyRefused):
            await ask(key)
    with pytest.raises(ObjectKeyRefused):
        await own.put(key, b"x")
    assert await keys(own) == ["media/mine"]
    await own.empty()
    assert not (root / own.prefix).exists()
    assert (outside / "secret").read_text() == "theirs"


async def test_a_tenants_directory_that_is_a_link_to_anothers_is_closed(root: Path) -> None:
    """Catalogue 110."""
    storage = Storage(root.as_uri())
    own, other = storage.of(new_id()), storage.of(new_id())
    await other.put("a", b"theirs")
    (root / own.prefix).symlink_to(root / other.prefix)
    assert await keys(own) == []
    with pytest.raises(ObjectKeyRefused):
        await own.get("a")
    await own.empty()
    assert await other.get("a") == b"theirs"


async def test_emptying_takes_what_a_killed_upload_left(root: Path) -> None:
    """Catalogue 119."""
    own = Storage(root.as_uri()).of(new_id())
    await own.put("a/b", b"x")
    (root / own.prefix / "a" / "big#1").write_bytes(b"half")
    assert await keys(own) == ["a/b"]
    assert await own.empty() == 1
    assert await own.empty() == 0
    assert not (root / own.prefix).exists()


async def test_emptying_a_prefix_takes_all_below_it_and_nothing_beside_it(
    own: TenantStorage, root: Path
) -> None:
    for key in ("exports/1/a", "exports/1/b", "exports/10/c", "exports/11"):
        await own.put(key, b"x")
    leave_a_draft(root / own.prefix / "exports" / "1")
    assert await own.empty("exports/1") == 2
    assert await own.empty("exports/1") == 0
    assert sorted(await keys(own)) == ["exports/10/c", "exports/11"]
    assert not (root / own.prefix / "exports" / "1").exists()
    with pytest.raises(ObjectKeyRefused):
        await own.empty("../x")


async def test_a_store_that_works_is_ready_and_left_as_it_was(storage: Storage, own: TenantStorage) -> None:
    await storage.check()
    await own.probe()
    assert await keys(own) == []


async def test_a_store_that_does_not_work_is_one_error(root: Path) -> None:
    """Catalogue 141."""
    storage = Storage(root.as_uri())
    own = storage.of(new_id())
    replace_by_file(root)
    for ask in (storage.check, own.probe, lambda: own.put("a", b"x")):
        with pytest.raises(StorageUnavailable):
            await ask()


@pytest.mark.parametrize(
    "url", ["file://", "file:///", "file://host/x", "s3://", "gopher://x", "file:///proc/x"]
)
def test_a_url_that_can_be_no_store_is_named_with_its_fix(url: str) -> None:
    with pytest.raises(SettingsError, match="MIS_STORAGE_URL"):
        Storage(url)


def test_a_bucket_is_opened_without_being_asked() -> None:
    assert Storage("s3://bucket/prefix").local is None


@pytest.mark.parametrize("url", ["memory:///", "file:///tmp/mis"])
def test_keys_for_a_store_that_takes_none_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="s3:// stores only"):
        Storage(url, StoreAccess(endpoint="http://store:8333"))


def test_the_secret_of_a_store_is_not_shown() -> None:
    access = StoreAccess("http://store:8333", "mis", "canary-secret")
    assert "canary-secret" not in repr(access)
    assert Storage("s3://bucket/prefix", access).local is None


async def test_the_tenants_that_have_objects_are_told_and_nobody_else(storage: Storage) -> None:
    first, second = sorted(new_id() for _ in range(2))
    assert await storage.tenants() == []
    await storage.of(second).put("media/deep/one.png", b"1")
    await storage.of(first).put("media/one.png", b"1")
    await storage.check()
    if storage.local is not None:
        (storage.local.root / "tenants" / "not-a-tenant").mkdir()
        (storage.local.root / "tenants" / str(new_id())).symlink_to(storage.local.root)
    assert await storage.tenants() == [first, second]
