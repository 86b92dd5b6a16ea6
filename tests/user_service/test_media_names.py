"""What files may be called: names are shown and never become places."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_http.files.file_names import checked_name, checked_type, served_as
from mis_tenancy.errors import ValidationFailed
from tests.answers import refused
from tests.suite import Suite
from tests.tenant_service.requests import fields
from tests.user_service.media import MEDIA, NOTHING, content, held, send, storage_root, stored

REFUSED = [
    *("", " ", ".", "..", "../x", "a/b", "/abs", "..\\x", "C:\\x", "C:/x", "\\\\host\\x"),
    *("a\x00b", "a\nb", "a\r\nX: y", "a\tb", "a\x7f", "a\x85b", "a\u2028b", "a\u202egpj.exe", "\ufeffa"),
    *("a\ud800", "x" * 256, "ü" * 128),
]
KEPT = [
    *("a.txt", "..%2f..%2fx", "%2e%2e", "con", "NUL.txt", "com1", ".hidden", "-rf", "a b", "x" * 255),
    *("a:stream", "a?b", 'a"b', "a;b", "名前.pdf", "👩\u200d💻.png", "'; drop table media; --"),
]


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_name_that_no_file_has_or_that_misleads_is_refused(name: str) -> None:
    """Catalogue 110."""
    with pytest.raises(ValidationFailed):
        checked_name(name)


@pytest.mark.parametrize("name", KEPT, ids=ascii)
async def test_every_other_name_is_kept_and_never_becomes_a_place(suite: Suite, name: str) -> None:
    """Catalogue 110."""
    tenant = await suite.tenant("custom")
    document = await stored(suite, tenant, filename=name)
    assert document["filename"] == name
    assert (await content(suite, tenant, document["id"])).content == b"hello"
    place = storage_root(suite) / "tenants" / str(tenant.id)
    assert [one.relative_to(place).as_posix() for one in place.rglob("*") if one.is_file()] == [
        f"media/{document['id']}"
    ]


@pytest.mark.parametrize("way", ["raw", "form"])
async def test_a_refused_name_stores_nothing(suite: Suite, way: str) -> None:
    """Catalogue 110."""
    tenant = await suite.tenant("custom")
    for name in ("../x", "a\x00b", ""):
        if way == "raw":
            answer = await send(suite, tenant, filename=name)
        else:
            head = f'--e\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
            sent = {"Content-Type": "multipart/form-data; boundary=e"} | tenant.auth
            form = head.encode() + b"x\r\n--e--\r\n"
            answer = await suite.client.post(MEDIA, content=form, headers=sent)
        assert fields(refused(answer, 422, "validation_failed"))[0][0] == "filename"
    assert await held(suite, tenant) == NOTHING


async def test_the_same_name_twice_is_two_files(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    one, two = [(await stored(suite, tenant, content))["id"] for content in (b"one", b"two")]
    assert (await content(suite, tenant, one)).content == b"one"
    assert (await content(suite, tenant, two)).content == b"two"


async def test_the_ways_to_spell_a_name_are_one(suite: Suite) -> None:
    """Catalogue 110."""
    tenant = await suite.tenant("custom")
    document = await stored(suite, tenant, filename=unicodedata.normalize("NFD", " Grüße.txt "))
    assert document["filename"] == "Grüße.txt"


async def test_a_symbolic_link_in_the_store_is_not_followed(suite: Suite) -> None:
    """Catalogue 110, 111."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    mine, theirs = (await stored(suite, tenant))["id"], (await stored(suite, other, b"theirs"))["id"]
    root = storage_root(suite) / "tenants"
    place = root / str(tenant.id) / "media" / mine
    place.unlink()
    place.symlink_to(root / str(other.id) / "media" / theirs)
    answer = await content(suite, tenant, mine)
    assert answer.status_code == 422
    assert b"theirs" not in answer.content
    assert (await content(suite, other, theirs)).content == b"theirs"


@given(st.text(max_size=300))
def test_a_name_that_is_taken_can_be_shown_and_sent_anywhere(name: str) -> None:
    """Catalogue 110."""
    try:
        kept = checked_name(name)
    except ValidationFailed:
        return
    assert kept == unicodedata.normalize("NFC", kept) == checked_name(kept)
    assert 0 < len(kept.encode()) <= 255
    assert not set(kept) & set("/\\\x00\r\n")


@pytest.mark.parametrize(
    "kind", ["x", "text/", "/x", "text/plain\r\nX: y", "a/b;c", "a/b; c=\x00", "a/" + "b" * 300]
)
def test_a_type_that_is_none_is_refused(kind: str) -> None:
    with pytest.raises(ValidationFailed):
        checked_type(kind)


@pytest.mark.parametrize("kind", [None, "", "application/x-www-form-urlencoded"])
def test_who_says_nothing_of_a_file_sends_bytes(kind: str | None) -> None:
    assert checked_type(kind) == "application/octet-stream"


@given(
    st.sampled_from(["text", "application", "image", "multipart", "message"]),
    st.text("abcxml+.-", max_size=9),
)
def test_no_document_of_a_browser_is_served_as_itself(family: str, subtype: str) -> None:
    """Catalogue 114."""
    for kind in (f"{family}/{subtype}xml", f"{family}/html", f"{family}/{subtype}+xml; charset=utf-8"):
        assert served_as(kind) == "application/octet-stream" or family == "image"
    assert served_as(f"{family}/{subtype}+xml") == "application/octet-stream"
