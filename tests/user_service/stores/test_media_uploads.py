"""Uploads at their limits and in trouble: counted exactly, and whatever fails leaves nothing behind."""

import asyncio
import base64
import hashlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_http.files.multipart import boundary_of, file_part
from mis_http.patience import Patience
from mis_tenancy.errors import BodyMalformed, ValidationFailed
from mis_tenancy.plans import GIB
from mis_tenancy.storage import StorageUnavailable, TenantStorage
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import fields
from tests.user_service.media import (
    MEDIA,
    MIB,
    NOTHING,
    Held,
    cut_off,
    held,
    in_pieces,
    send,
    set_largest,
    tenant_with_room,
)
from user_service.media import uploads

WAYS = ["raw", "chunked", "form"]


async def sent_as(suite: Suite, tenant: TenantHandle, way: str, content: bytes) -> httpx.Response:
    if way == "form":
        return await suite.client.post(MEDIA, files={"file": ("a.bin", content)}, headers=tenant.auth)
    return await send(suite, tenant, content if way == "raw" else in_pieces(content))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [MIB // 2, 3 * MIB])
async def test_parallel_uploads_share_exactly_the_room_there_is(suite: Suite, way: str, size: int) -> None:
    """Catalogue 99, 113."""
    tenant = await tenant_with_room(suite, 3 * size)
    answers = await asyncio.gather(*(sent_as(suite, tenant, way, b"x" * size) for _ in range(8)))
    kept = [answer for answer in answers if answer.status_code == 201]
    refusals = [refused(one, 409, "limit_exceeded") for one in answers if one not in kept]
    assert all((one["resource"], one["limit"]) == ("storage", GIB) for one in refusals)
    there = await held(suite, tenant)
    # Of those that do not say how long they are one may hold what another needs, and is refused for it.
    assert len(kept) == 3 or (way == "chunked" and size > MIB and 1 <= len(kept) <= 3)
    assert there == Held(GIB - (3 - len(kept)) * size, len(kept), len(kept), 0, len(kept))


@pytest.mark.parametrize("way", WAYS)
async def test_a_file_takes_the_very_last_byte_and_none_more(suite: Suite, way: str) -> None:
    """Catalogue 113."""
    tenant = await tenant_with_room(suite, 3 * MIB)
    over = refused(await sent_as(suite, tenant, way, b"x" * (3 * MIB + 1)), 409, "limit_exceeded")
    assert (over["limit"], over["resource"]) == (GIB, "storage")
    assert await held(suite, tenant) == Held(GIB - 3 * MIB, 0, 0, 0, 0)
    fine(await sent_as(suite, tenant, way, b"x" * (3 * MIB)), 201)
    assert await held(suite, tenant) == Held(GIB, 1, 1, 0, 1)
    full = refused(await sent_as(suite, tenant, way, b"x"), 409, "limit_exceeded")
    assert full["used"] == GIB


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [2 * MIB, 200])
async def test_a_file_over_the_tenants_limit_is_refused(suite: Suite, way: str, size: int) -> None:
    """Catalogue 113."""
    tenant = await suite.tenant("custom")
    await set_largest(suite, tenant, size)
    fine(await sent_as(suite, tenant, way, b"x" * size), 201)
    over = refused(await sent_as(suite, tenant, way, b"x" * (size + 1)), 413, "file_too_large")
    assert over["limit"] == size
    refused(await sent_as(suite, tenant, way, b"x" * (size + 3 * MIB)), 413, "file_too_large")
    assert await held(suite, tenant) == Held(size, 1, 1, 0, 1)


async def test_what_is_very_large_has_to_say_so(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = await suite.tenant("custom")
    monkeypatch.setattr(uploads, "_LARGEST_UNANNOUNCED", 2 * MIB)
    refused(await sent_as(suite, tenant, "chunked", b"x" * (2 * MIB + 1)), 411, "length_required")
    fine(await sent_as(suite, tenant, "raw", b"x" * (2 * MIB + 1)), 201)
    assert await held(suite, tenant) == Held(2 * MIB + 1, 1, 1, 0, 1)


async def test_a_field_behind_the_file_does_not_count_to_its_size(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await set_largest(suite, tenant, 100)
    form = form_of(("before", None, b"y" * 300), ("file", "a.txt", b"x" * 100), ("behind", None, b"z" * 300))
    headers = {"Content-Type": "multipart/form-data; boundary=edge"} | tenant.auth
    document = fine(await suite.client.post(MEDIA, content=form, headers=headers), 201)
    assert (document["size"], document["filename"]) == (100, "a.txt")
    assert await held(suite, tenant) == Held(100, 1, 1, 0, 1)


@pytest.mark.parametrize("declared", [None, 5 * MIB])
@pytest.mark.parametrize("sent", [0, 1000, 3 * MIB])
async def test_a_client_that_goes_away_leaves_nothing(suite: Suite, sent: int, declared: int | None) -> None:
    """Catalogue 113."""
    tenant = await suite.tenant("custom")
    assert await cut_off(suite, tenant, sent, declared) is None
    assert await held(suite, tenant) == NOTHING


@pytest.mark.parametrize("declared", ["4", "6", str(3 * MIB)])
async def test_a_body_of_another_length_than_said_is_refused(suite: Suite, declared: str) -> None:
    """Catalogue 113."""
    tenant = await suite.tenant("custom")
    answer = await send(suite, tenant, in_pieces(b"hello"), Content_Length=declared)
    refused(answer, 400, "body_malformed")
    assert await held(suite, tenant) == NOTHING


async def test_a_client_that_sends_next_to_nothing_is_given_up(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 113."""
    tenant = await suite.tenant("custom")
    state = suite.apps["user"].state._state

    async def halting() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        await asyncio.Event().wait()

    async def trickling() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.005)

    monkeypatch.setitem(state, "patience", Patience(silence=0.05))
    refused(await send(suite, tenant, halting()), 408, "upload_too_slow")
    monkeypatch.setitem(state, "patience", Patience(silence=60, grace=0.05, rate=1e9))
    refused(await send(suite, tenant, trickling()), 408, "upload_too_slow")
    assert await held(suite, tenant) == NOTHING


async def test_what_cannot_be_taken_back_at_once_is_left_to_lapse_and_the_sender_hears_the_cause(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")

    async def away(self: TenantStorage, key: str, *_: Any, **__: Any) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(TenantStorage, "delete", away)
        answer = await send(suite, tenant, in_pieces(b"hello"), Content_Length="9")
    refused(answer, 400, "body_malformed")
    # What it holds is counted until its object is known to be gone.
    assert await held(suite, tenant) == Held(9, 0, 0, 1, 0)


@pytest.mark.parametrize("removed", [True, False])
async def test_a_sender_who_is_shut_out_meanwhile_stores_nothing(suite: Suite, removed: bool) -> None:
    tenant = await suite.tenant("custom")
    member = await suite.user(tenant)
    path = f"/api/v1/users/{member.id}"

    async def long() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        if removed:
            await suite.client.delete(path, headers=tenant.auth)
        else:
            await suite.client.patch(path, json={"status": "disabled"}, headers=tenant.auth)
        await suite.tenancy().feed.poll()
        yield b"x"

    refused(await send(suite, tenant, long(), auth=member.auth), 401, "token_revoked")
    assert await held(suite, tenant) == NOTHING


DIGESTS = {
    "sha-256": base64.b64encode(hashlib.sha256(b"hello").digest()).decode(),
    "sha-512": base64.b64encode(hashlib.sha512(b"hello").digest()).decode(),
}


@pytest.mark.parametrize("algorithm", DIGESTS)
async def test_a_digest_that_is_sent_is_verified(suite: Suite, algorithm: str) -> None:
    tenant = await suite.tenant("custom")
    right = f"{algorithm}=:{DIGESTS[algorithm]}:"
    fine(await send(suite, tenant, Content_Digest=right), 201)
    fine(await send(suite, tenant, Content_Digest=f"unixsum=:AAAA:, {right}"), 201)
    wrong = await send(suite, tenant, b"hallo", Content_Digest=right)
    refused(wrong, 400, "content_digest_mismatch")
    for header in (DIGESTS[algorithm], f"{algorithm}={DIGESTS[algorithm]}", f"{algorithm}=:a:", ""):
        refused(await send(suite, tenant, Content_Digest=header), 400, "content_digest_malformed")
    assert await held(suite, tenant) == Held(10, 2, 2, 0, 2)


async def test_a_repeated_upload_is_told_apart_by_its_digest_where_one_is_sent(suite: Suite) -> None:
    """Catalogue 137."""
    tenant = await suite.tenant("custom")
    other = base64.b64encode(hashlib.sha256(b"hallo").digest()).decode()
    one, two = [f"sha-256=:{digest}:" for digest in (DIGESTS["sha-256"], other)]
    fine(await send(suite, tenant, b"hello", Idempotency_Key="one", Content_Digest=one), 201)
    again = await send(suite, tenant, b"hallo", Idempotency_Key="one", Content_Digest=two)
    refused(again, 422, "idempotency_key_reused")


def form_of(*parts: tuple[str, str | None, bytes], boundary: str = "edge", end: bytes = b"--\r\n") -> bytes:
    written = b""
    for name, filename, content in parts:
        named = "" if filename is None else f'; filename="{filename}"'
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
        written += head.encode() + content + b"\r\n"
    return written + f"--{boundary}".encode() + end


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "body_malformed"),
        (b"no form at all", 400, "body_malformed"),
        (form_of(("file", "a", b"x"))[:-9], 400, "body_malformed"),
        (form_of(("file", "a", b"x"), end=b""), 400, "body_malformed"),
        (form_of(("file", "a", b"x"), boundary="other"), 400, "body_malformed"),
        (
            form_of(*[(f"f{one}", None, b"x") for one in range(25)], ("file", "a", b"x")),
            413,
            "body_too_large",
        ),
        (form_of(("huge", None, b"x" * (2 * MIB)), ("file", "a", b"x")), 413, "body_too_large"),
        (form_of(("file", "a", b"x"), ("huge", None, b"x" * (2 * MIB))), 413, "body_too_large"),
        (b"--edge\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 400, "body_malformed"),
    ],
)
async def test_a_form_that_is_none_or_too_large_is_refused(
    suite: Suite, body: bytes, status: int, code: str
) -> None:
    tenant = await suite.tenant("custom")
    headers = {"Content-Type": "multipart/form-data; boundary=edge"} | tenant.auth
    refused(await suite.client.post(MEDIA, content=body, headers=headers), status, code)
    assert await held(suite, tenant) == NOTHING


async def test_a_form_has_one_file_with_a_name(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    headers = {"Content-Type": "multipart/form-data; boundary=edge"} | tenant.auth
    for form, code in (
        (form_of(("other", "a", b"x")), ("file", "missing")),
        (form_of(("file", None, b"x")), ("filename", "missing")),
        (form_of(("file", "a", b"x"), ("file", "b", b"y")), ("file", "too_many")),
    ):
        document = refused(
            await suite.client.post(MEDIA, content=form, headers=headers), 422, "validation_failed"
        )
        assert fields(document) == [code]
    for kind in ("multipart/form-data", "multipart/form-data; boundary=" + "x" * 300):
        sent = {"Content-Type": kind} | tenant.auth
        refused(await suite.client.post(MEDIA, content=b"x", headers=sent), 400, "body_malformed")
    assert await held(suite, tenant) == NOTHING


async def test_an_encoded_body_is_refused_because_it_would_be_stored_as_something_else(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    refused(await send(suite, tenant, Content_Encoding="gzip"), 415, "unsupported_media_type")


async def _cut(form: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    edges = sorted({0, len(form), *(cut % (len(form) + 1) for cut in cuts)})
    for start, stop in itertools.pairwise(edges):
        yield form[start:stop]


@given(
    content=st.lists(st.sampled_from([b"\r\n", b"--edge", b"\r\n--edg", b"-", b"x", b"\r\n--"])).map(
        b"".join
    ),
    cuts=st.lists(st.integers(0, 500), max_size=30),
)
async def test_a_part_is_read_as_it_was_written_however_it_is_cut(content: bytes, cuts: list[int]) -> None:
    if b"\r\n--edge" in b"\r\n" + content:
        return
    form = form_of(("note", None, b"hi"), ("file", "a.txt", content))
    part = await file_part(_cut(form, cuts), "edge", "file")
    read = b"".join([piece async for piece in part.pieces])
    assert (read, part.filename) == (content, "a.txt")
    # What looks like a boundary at the very beginning may be counted a little short.
    assert not content or abs(len(form) - part.overhead - len(content)) <= len("\r\n--edge")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
async def test_bytes_that_are_no_form_are_refused_and_nothing_else(body: bytes, cuts: list[int]) -> None:
    with pytest.raises((BodyMalformed, ValidationFailed)):
        await file_part(_cut(body, cuts), "edge", "file")


def test_a_boundary_is_what_the_header_names() -> None:
    assert boundary_of('multipart/form-data; boundary="a b"') == "a b"
    with pytest.raises(BodyMalformed):
        boundary_of("multipart/form-data")
