"""Links to exports: good for what they were signed for, for ten minutes, and for nothing else."""

import base64
import os
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_http.files.downloads import RangeNotSatisfiable, range_of
from mis_http.files.signed_links import LinkRefused, LinkSigner, SignedQuery
from mis_tenancy.settings import MasterKeys
from tests.answers import fine, refused
from tests.auth_service.requests import set_status
from tests.isolation.world import suspend
from tests.suite import Suite
from tests.tenant_service.exports import (
    ask_for,
    exports_path,
    fetch,
    finished,
    job_for,
    jobs_of,
    opened,
    rows_of,
    status_of,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def master_key(name: str) -> str:
    return f"{name}:{base64.b64encode(os.urandom(32)).decode()}"


OLD, NEW = master_key("old"), master_key("new")
SIGNER = LinkSigner(MasterKeys.parse(OLD))
TENANT = uuid4()


def query_of(link: str) -> SignedQuery:
    return SignedQuery(**dict(parse_qsl(urlsplit(link).query)))


LINK = query_of(SIGNER.link("GET", "/a/file", TENANT, now=NOW, lifetime=MINUTE))


def test_a_link_is_good_for_its_request_until_it_expires() -> None:
    """Catalogue 112."""
    SIGNER.check("GET", "/a/file", TENANT, LINK, now=NOW)
    SIGNER.check("GET", "/a/file", TENANT, LINK, now=NOW + MINUTE - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("method", "path", "tenant", "sent", "later"),
    [
        ("GET", "/a/file", TENANT, LINK, MINUTE),
        ("POST", "/a/file", TENANT, LINK, timedelta()),
        ("HEAD", "/a/file", TENANT, LINK, timedelta()),
        ("GET", "/b/file", TENANT, LINK, timedelta()),
        ("GET", "/a/file/", TENANT, LINK, timedelta()),
        ("GET", "/a/file", uuid4(), LINK, timedelta()),
        ("GET", "/a/file", TENANT, SignedQuery("9999999999", LINK.key, LINK.signature), timedelta()),
        ("GET", "/a/file", TENANT, SignedQuery(f"0{LINK.expires}", LINK.key, LINK.signature), timedelta()),
        ("GET", "/a/file", TENANT, SignedQuery(LINK.expires, "other", LINK.signature), timedelta()),
        ("GET", "/a/file", TENANT, SignedQuery(LINK.expires, LINK.key, ""), timedelta()),
        ("GET", "/a/file", TENANT, SignedQuery(LINK.expires, LINK.key, LINK.signature[:-2]), timedelta()),
        ("GET", "/a/file", TENANT, SignedQuery(LINK.expires, LINK.key, "ü" * 43), timedelta()),
        ("GET", "/a/file", TENANT, SignedQuery("\u0661\u0662", LINK.key, LINK.signature), timedelta()),
        ("GET", "/a/file", TENANT, SignedQuery("", "", ""), timedelta()),
    ],
)
def test_a_link_that_was_altered_or_has_expired_is_refused(
    method: str, path: str, tenant: UUID, sent: SignedQuery, later: timedelta
) -> None:
    """Catalogue 112."""
    with pytest.raises(LinkRefused):
        SIGNER.check(method, path, tenant, sent, now=NOW + later)


@given(st.integers(0, 31), st.integers(1, 255))
def test_no_other_signature_fits(position: int, flip: int) -> None:
    """Catalogue 112."""
    signature = bytearray(base64.urlsafe_b64decode(LINK.signature + "="))
    signature[position] ^= flip
    forged = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    with pytest.raises(LinkRefused):
        SIGNER.check("GET", "/a/file", TENANT, SignedQuery(LINK.expires, LINK.key, forged), now=NOW)


def test_a_moment_beyond_all_years_is_refused_even_where_it_is_signed() -> None:
    far = "9" * 200
    signature = SIGNER._signature("old", "GET", "/a/file", TENANT, far)
    sent = SignedQuery(far, "old", base64.urlsafe_b64encode(signature).rstrip(b"=").decode())
    with pytest.raises(LinkRefused):
        SIGNER.check("GET", "/a/file", TENANT, sent, now=NOW)


def test_a_link_outlives_a_rotation_while_its_key_is_at_hand_and_no_longer() -> None:
    rotated, later = LinkSigner(MasterKeys.parse(f"{NEW},{OLD}")), LinkSigner(MasterKeys.parse(NEW))
    rotated.check("GET", "/a/file", TENANT, LINK, now=NOW)
    assert query_of(rotated.link("GET", "/a", TENANT, now=NOW, lifetime=MINUTE)).key == "new"
    with pytest.raises(LinkRefused):
        later.check("GET", "/a/file", TENANT, LINK, now=NOW)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 5)),
        ("bytes=7-", (7, 10)),
        ("bytes=7-99", (7, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=-", None),
        ("bytes=4-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=\u0661-", None),
    ],
)
def test_one_range_is_understood_and_everything_else_is_the_whole(
    header: str | None, found: tuple[int, int] | None
) -> None:
    assert range_of(header, 10) == found


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_beyond_the_end_is_told_the_size(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        range_of(header, 10)
    assert caught.value.headers["Content-Range"] == "bytes */10"


async def test_a_file_is_handed_out_in_ranges_of_one_version(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    url = (await finished(suite, tenant, "users"))["downloadUrl"]
    whole = await fetch(suite, url)
    part = await fetch(suite, url, Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    assert (part.headers["content-length"], part.headers["accept-ranges"]) == ("10", "bytes")
    same = await fetch(suite, url, Range="bytes=10-", **{"If-Range": whole.headers["etag"]})
    assert (same.status_code, same.content) == (206, whole.content[10:])
    other = await fetch(suite, url, Range="bytes=10-", **{"If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, whole.content)
    refused(await fetch(suite, url, Range="bytes=999999-"), 416, "range_not_satisfiable")


async def test_a_link_opens_one_file_of_one_tenant(suite: Suite) -> None:
    """Catalogue 112."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    done, theirs = await finished(suite, tenant, "users"), await finished(suite, other, "users")
    url = done["downloadUrl"]
    assert (await fetch(suite, url)).status_code == 200
    query = dict(parse_qsl(urlsplit(url).query))
    altered = [
        url.replace(str(tenant.id), str(other.id)),
        url.replace(done["exportId"], theirs["exportId"]),
        url.replace(str(tenant.id), str(other.id)).replace(done["exportId"], theirs["exportId"]),
        url.replace(str(tenant.id), tenant.slug),
        url.replace(done["exportId"], "nonsense"),
        url.partition("?")[0],
        url.partition("?")[0] + "?" + urlencode(query | {"expires": str(int(query["expires"]) + 1)}),
        url.partition("?")[0] + "?" + urlencode(query | {"signature": query["signature"][::-1]}),
    ]
    answers = [await fetch(suite, one) for one in altered]
    documents = [refused(answer, 403, "link_refused") for answer in answers]
    assert len({document["detail"] for document in documents}) == 1
    for method, status in (("POST", 401), ("PUT", 401), ("DELETE", 401)):
        assert (await fetch(suite, url, method)).status_code == status


async def test_a_link_hands_nothing_out_below_another_tenants_name(suite: Suite) -> None:
    """Else whoever has a tenant had files come from the address of another. Catalogue 112."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    url = (await finished(suite, tenant, "users"))["downloadUrl"]
    refused(await fetch(suite, url, Host=f"{other.slug}.mis.local"), 403, "link_refused")
    refused(await fetch(suite, f"{url}&tenant={other.id}"), 403, "link_refused")
    assert (await fetch(suite, url, Host=f"{tenant.slug}.mis.local")).status_code == 200


async def test_a_link_says_its_own_expiry_and_its_host_is_the_configured_one(suite: Suite) -> None:
    """Catalogue 112, 126."""
    tenant = await suite.tenant("custom")
    done = await finished(suite, tenant, "users")
    forged = tenant.auth | {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    url = (await status_of(suite, tenant, done["exportId"], forged))["downloadUrl"]
    assert url.startswith(f"{suite.settings.public_url}/api/v1/tenants/")
    expires = int(dict(parse_qsl(urlsplit(url).query))["expires"])
    assert 590 <= expires - datetime.now(UTC).timestamp() <= 600


async def test_an_unsigned_download_leads_to_a_signed_one(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    done = await finished(suite, tenant, "users")
    path = f"{exports_path(tenant, done['exportId'])}/download"
    led = await suite.client.get(path, headers=tenant.auth)
    assert (led.status_code, led.headers["cache-control"]) == (302, "no-store")
    assert (await fetch(suite, led.headers["location"])).status_code == 200
    refused(await fetch(suite, path), 401, "authentication_required")


async def test_a_link_into_a_tenant_that_was_suspended_meanwhile_is_refused(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    url = (await finished(suite, tenant, "users"))["downloadUrl"]
    await suspend(suite, tenant)
    refused(await fetch(suite, url), 403, "link_refused")


@pytest.mark.parametrize(("status", "reason"), [("pending_deletion", None), ("suspended", "past_due")])
async def test_the_owner_of_an_ending_tenant_takes_the_data_along(
    suite: Suite, status: str, reason: str | None
) -> None:
    tenant = await suite.tenant("custom")
    await set_status(suite, tenant, status, reason, raise_epoch=True)
    owner = (await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)).auth
    refused(await suite.client.get("/api/v1/users", headers=owner), 403, "permission_denied")
    asked = fine(await ask_for(suite, tenant, headers=owner), 202)["exportId"]
    await jobs_of(suite).run(job_for(tenant, asked))
    done = await status_of(suite, tenant, asked, owner)
    archive = await opened(suite, done)
    assert [row["email"] for row in rows_of(archive, "users")] == [tenant.owner_email]
    path = exports_path(tenant, asked)
    led = await suite.client.get(f"{path}/download", headers=owner)
    assert (await fetch(suite, led.headers["location"])).status_code == 200
    fine(await suite.client.delete(path, headers=owner), 204)
