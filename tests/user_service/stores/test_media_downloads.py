"""Files on their way out: ranges, versions, headers that no browser trips over, and links."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_http.files.content_digest import digest_header
from mis_http.files.downloads import attachment
from mis_tenancy.tenant import Role
from tests.answers import fine, refused
from tests.isolation.world import suspend
from tests.suite import Suite, TenantHandle, fresh_address
from tests.tenant_service.requests import audit_rows, fields
from tests.user_service.media import MEDIA, MIB, content, digest_of, fetch, storage_of, stored

DIGITS = b"0123456789"


async def test_a_range_is_handed_out_of_one_version(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    media_id = (await stored(suite, tenant, DIGITS))["id"]
    part = await content(suite, tenant, media_id, Range="bytes=2-4")
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    assert (part.headers["content-length"], part.headers["accept-ranges"]) == ("3", "bytes")
    tag, moment = part.headers["etag"], part.headers["last-modified"]
    for version in (tag, moment):
        same = await content(suite, tenant, media_id, Range="bytes=-3", If_Range=version)
        assert (same.status_code, same.content) == (206, b"789")
    for version in ('"other"', f"W/{tag}", "Sat, 01 Jan 2000 00:00:00 GMT", "nonsense"):
        other = await content(suite, tenant, media_id, Range="bytes=-3", If_Range=version)
        assert (other.status_code, other.content) == (200, DIGITS)
    several = await content(suite, tenant, media_id, Range="bytes=0-1,4-5")
    assert (several.status_code, several.content) == (200, DIGITS)
    beyond = await content(suite, tenant, media_id, Range="bytes=10-")
    refused(beyond, 416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == "bytes */10"


async def test_a_range_across_the_pieces_of_a_large_file_is_exact(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    sent = b"".join(number.to_bytes(4, "big") for number in range(9 * MIB // 4))
    media_id = (await stored(suite, tenant, sent))["id"]
    start, stop = 4 * MIB - 3, 8 * MIB + 5
    part = await content(suite, tenant, media_id, Range=f"bytes={start}-{stop - 1}")
    assert (part.status_code, part.content) == (206, sent[start:stop])


async def test_who_has_a_version_is_not_sent_it_again(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    media_id = (await stored(suite, tenant, DIGITS))["id"]
    whole = await content(suite, tenant, media_id)
    tag, moment = whole.headers["etag"], whole.headers["last-modified"]
    later = (datetime.now(UTC) + timedelta(days=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    for had in ({"If_None_Match": tag}, {"If_None_Match": "*"}, {"If_None_Match": f'"a", W/{tag}'}):
        answer = await content(suite, tenant, media_id, **had)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    for since in (moment, later):
        assert (await content(suite, tenant, media_id, If_Modified_Since=since)).status_code == 304
    for new in ({"If_None_Match": '"other"'}, {"If_Modified_Since": "Sat, 01 Jan 2000 00:00:00 GMT"}):
        assert (await content(suite, tenant, media_id, **new)).content == DIGITS
    # A tag that does not fit counts, whatever date stands beside it (RFC 9110 §13.2.2).
    both = {"If_None_Match": '"other"', "If_Modified_Since": later}
    assert (await content(suite, tenant, media_id, **both)).status_code == 200
    for none in ("yesterday", f"Mon, 01 Jan {10**30} 00:00:00 GMT", f"Mon, 01 Jan 2020 00:00:00 +{10**30}"):
        assert (await content(suite, tenant, media_id, If_Modified_Since=none)).status_code == 200


async def test_a_file_leaves_as_something_to_be_saved(suite: Suite) -> None:
    """Catalogue 114."""
    tenant = await suite.tenant("custom")
    document = await stored(suite, tenant, DIGITS, filename="Grüße & 你.txt")
    url = (await suite.client.post(f"{MEDIA}/{document['id']}/link", headers=tenant.auth)).json()["url"]
    for answer in (await content(suite, tenant, document["id"]), await fetch(suite, url)):
        headers = answer.headers
        assert headers["content-disposition"] == (
            "attachment; filename=\"Grue___.txt\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%26%20%E4%BD%A0.txt"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert headers["cache-control"] == "no-store"
        assert headers["repr-digest"] == digest_header(digest_of(DIGITS))


@pytest.mark.parametrize(
    ("sent", "served"),
    [
        ("text/html", "application/octet-stream"),
        ("TEXT/HTML; charset=utf-8", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("application/xhtml+xml", "application/octet-stream"),
        ("text/xml", "application/octet-stream"),
        ("text/javascript", "application/octet-stream"),
        ("application/javascript", "application/octet-stream"),
        ("multipart/x-mixed-replace; boundary=a", "application/octet-stream"),
        ("image/png", "image/png"),
        ("text/plain", "text/plain"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("application/pdf", "application/pdf"),
        ("application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
    ],
)
async def test_what_a_browser_would_run_is_served_as_bytes(suite: Suite, sent: str, served: str) -> None:
    """Catalogue 114."""
    tenant = await suite.tenant("custom")
    document = await stored(suite, tenant, b"<svg onload=alert(1)>", Content_Type=sent)
    answer = await content(suite, tenant, document["id"])
    assert (document["contentType"], answer.headers["content-type"]) == (sent, served)
    assert answer.headers["content-disposition"].startswith("attachment;")


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60))
def test_a_name_is_quoted_so_that_it_cannot_end_the_header(name: str) -> None:
    """Catalogue 110."""
    value = attachment(name)
    assert value.isascii()
    assert value.isprintable()
    plain = value.partition('filename="')[2].partition('"')[0]
    assert plain
    assert not set(plain) & set("\\/;%\r\n")
    assert value.count('"') == 2


async def test_head_tells_of_a_file_what_get_would(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    path = f"{MEDIA}/{(await stored(suite, tenant, DIGITS))['id']}/content"
    head = await suite.client.head(path, headers=tenant.auth)
    whole = await suite.client.get(path, headers=tenant.auth)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "last-modified", "content-disposition"):
        assert head.headers[name] == whole.headers[name]
    part = await suite.client.head(path, headers=tenant.auth | {"Range": "bytes=0-3"})
    assert (part.status_code, part.headers["content-length"]) == (206, "4")


async def test_no_transaction_is_open_while_a_file_is_sent(suite: Suite) -> None:
    """Catalogue 117."""
    tenant = await suite.tenant("custom")
    media_id = (await stored(suite, tenant, b"x" * 9 * MIB))["id"]
    engine = suite.tenancy("user").database.engine
    path = f"{MEDIA}/{media_id}/content"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver"), (b"authorization", tenant.auth["Authorization"].encode())],
        "client": (fresh_address(), 50_000),
        "server": ("testserver", 80),
    }
    seen: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            seen.append(engine.pool.checkedout())  # type: ignore[attr-defined]  # every pool of ours counts

    await suite.gateway(scope, receive, send)
    assert len(seen) >= 3
    assert set(seen) == {0}


async def linked(suite: Suite, tenant: TenantHandle, media_id: str, **body: Any) -> dict[str, Any]:
    answer = await suite.client.post(f"{MEDIA}/{media_id}/link", json=body, headers=tenant.auth)
    document: dict[str, Any] = fine(answer, 201)
    return document


async def test_a_link_opens_one_file_of_one_tenant_by_one_method(suite: Suite) -> None:
    """Catalogue 112."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    mine = (await stored(suite, tenant, DIGITS))["id"]
    second = (await stored(suite, tenant, b"second"))["id"]
    theirs = (await stored(suite, other, b"theirs"))["id"]
    url = (await linked(suite, tenant, mine))["url"]
    assert (await fetch(suite, url)).content == DIGITS
    assert (await fetch(suite, url, Authorization="Bearer expired")).content == DIGITS
    assert (await fetch(suite, url, Range="bytes=1-2")).content == b"12"
    base, query = url.partition("?")[0], dict(parse_qsl(urlsplit(url).query))
    altered = [
        url.replace(mine, second),
        url.replace(mine, theirs),
        url.replace(str(tenant.id), str(other.id)),
        url.replace(str(tenant.id), str(other.id)).replace(mine, theirs),
        url.replace(str(tenant.id), tenant.slug),
        url.replace(mine, "nonsense"),
        base,
        base + "?" + urlencode(query | {"expires": str(int(query["expires"]) + 1)}),
        base + "?" + urlencode(query | {"signature": query["signature"][::-1]}),
        base + "?" + urlencode(query | {"key": "other"}),
    ]
    documents = [refused(await fetch(suite, one), 403, "link_refused") for one in altered]
    assert len({document["detail"] for document in documents}) == 1
    for method in ("POST", "PUT", "DELETE"):
        assert (await fetch(suite, url, method)).status_code == 401


async def test_a_link_hands_nothing_out_below_another_tenants_name(suite: Suite) -> None:
    """Else whoever has a tenant had files come from the address of another. Catalogue 112."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    url = (await linked(suite, tenant, (await stored(suite, tenant, DIGITS))["id"]))["url"]
    for named in ({"Host": f"{other.slug}.mis.local"}, {"X-Tenant-ID": str(other.id)}):
        refused(await fetch(suite, url, **named), 403, "link_refused")
    refused(await fetch(suite, f"{url}&tenant={other.slug}"), 403, "link_refused")
    refused(await fetch(suite, url, X_Tenant_Slug="nobody-of-that-name"), 403, "link_refused")
    for named in ({}, {"Host": f"{tenant.slug}.mis.local"}, {"X_Tenant_Slug": tenant.slug}):
        assert (await fetch(suite, url, **named)).content == DIGITS


async def test_a_link_lasts_as_long_as_was_asked_and_at_most_a_day(suite: Suite) -> None:
    """Catalogue 112."""
    tenant = await suite.tenant("custom")
    media_id = (await stored(suite, tenant))["id"]
    now = datetime.now(UTC).timestamp()
    asked: list[tuple[dict[str, Any], int]] = [
        ({}, 600),
        ({"expiresIn": 5}, 5),
        ({"expiresIn": 86_400}, 86_400),
    ]
    for body, lifetime in asked:
        document = await linked(suite, tenant, media_id, **body)
        expires = int(dict(parse_qsl(urlsplit(document["url"]).query))["expires"])
        assert lifetime - 1 <= expires - now <= lifetime + 30
        assert datetime.fromisoformat(document["expiresAt"]).timestamp() == expires
    for unfit in (0, 86_401, "60", 1.5):
        body = {"expiresIn": unfit}
        answer = await suite.client.post(f"{MEDIA}/{media_id}/link", json=body, headers=tenant.auth)
        assert fields(refused(answer, 422, "validation_failed"))[0][0] == "expiresIn"
    forged = tenant.auth | {"Host": "testserver", "X-Forwarded-Host": "evil.example"}
    answer = await suite.client.post(f"{MEDIA}/{media_id}/link", headers=forged)
    assert fine(answer, 201)["url"].startswith(f"{suite.settings.public_url}{MEDIA}/")


async def test_a_link_ends_with_its_file_and_with_its_tenant(suite: Suite) -> None:
    """Catalogue 112."""
    tenant = await suite.tenant("custom")
    gone, kept = [(await stored(suite, tenant))["id"] for _ in range(2)]
    urls = [(await linked(suite, tenant, one))["url"] for one in (gone, kept)]
    fine(await suite.client.delete(f"{MEDIA}/{gone}", headers=tenant.auth), 204)
    refused(await fetch(suite, urls[0]), 403, "link_refused")
    assert (await fetch(suite, urls[1])).status_code == 200
    await suspend(suite, tenant)
    refused(await fetch(suite, urls[1]), 403, "link_refused")


async def test_links_are_made_and_used_on_the_record(suite: Suite) -> None:
    """Catalogue 128."""
    tenant = await suite.tenant("custom")
    viewer = await suite.user(tenant, Role.VIEWER)
    media_id = (await stored(suite, tenant))["id"]
    answer = await suite.client.post(f"{MEDIA}/{media_id}/link", headers=viewer.auth)
    await fetch(suite, fine(answer, 201)["url"])
    used, made, *_ = await audit_rows(suite, tenant.id)
    assert (used["action"], used["resource"]) == ("media.downloaded", f"media/{media_id}")
    assert (made["action"], made["actor"]) == ("media.link_created", str(viewer.id))


async def test_a_file_whose_object_was_lost_is_not_found(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    media_id = (await stored(suite, tenant))["id"]
    url = (await linked(suite, tenant, media_id))["url"]
    await storage_of(suite, tenant).delete(f"media/{media_id}")
    refused(await content(suite, tenant, media_id), 404, "media_not_found")
    refused(await fetch(suite, url), 403, "link_refused")
