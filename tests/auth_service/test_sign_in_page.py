"""The sign-in page as a browser without scripts uses it."""

import base64
import re
from datetime import datetime, timedelta
from hashlib import sha256
from html import unescape
from http.cookies import SimpleCookie
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update

from auth_service.sessions.page_tokens import new_page_token, parse_page_token
from auth_service.sign_in.next_path import safe_path
from mis_models.accounts import UserRow
from tests.answers import bearer, fine
from tests.auth_service.browsing import COOKIE, HTML, browser_at, browser_of, csrf_of, text_of
from tests.auth_service.links import mails_of, write_resets
from tests.auth_service.requests import (
    age_counters,
    age_session,
    alter,
    audited,
    refresh,
    security_events,
    set_status,
)
from tests.suite import PASSWORD, Suite, TenantHandle, fresh_address

WRONG = "The e-mail address or the password is wrong."


@pytest.fixture(scope="module")
async def tenant(suite: Suite) -> TenantHandle:
    return await suite.tenant("premium")


def policy(page: httpx.Response) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in page.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in parts}


async def test_signing_in_leads_to_a_page_that_says_who_one_is(suite: Suite, tenant: TenantHandle) -> None:
    async with browser_of(suite, tenant) as browser:
        answer = await browser.sign_in(tenant.owner_email)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        page = await browser.open()
        assert page.status_code == 200
        said = text_of(page)
        assert "You are signed in" in said
        for word in ("Olivia Owner", tenant.owner_email, tenant.document["name"], "owner"):
            assert word in said
    assert (await audited(suite, tenant))[-1] == "login.succeeded"


async def test_the_cookie_is_for_this_host_alone_and_for_no_script(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 78."""
    async with browser_of(suite, tenant) as browser:
        for answer in (await browser.open(), await browser.sign_in(tenant.owner_email)):
            morsel = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
            assert (morsel["secure"], morsel["httponly"], morsel["path"]) == (True, True, "/")
            assert morsel["samesite"].lower() == "lax"
            assert morsel["domain"] == ""


async def test_a_sign_in_replaces_whatever_the_cookie_held(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 77: what somebody has planted is worth nothing afterwards."""
    planted = new_page_token(tenant.id).text
    async with browser_of(suite, tenant) as browser:
        await browser.open()
        before = browser.cookie
        await browser.sign_in(tenant.owner_email)
        first = browser.cookie
        assert before != first
        assert first is not None
        assert parse_page_token(first) is not None
        # Signing in again ends the session before.
        page = await browser.open()
        await browser.client.post(
            "/login", data={"csrf": csrf_of(page), "email": tenant.owner_email, "password": PASSWORD}
        )
        assert browser.cookie not in (before, first)
        browser.client.cookies.clear()
        for old in (first, planted, before):
            page = await browser.client.get("/login", headers={"Cookie": f"{COOKIE}={old}"})
            assert "You are signed in" not in page.text


WRONGS = [
    {"email": "nobody@nowhere.example"},
    {"password": "Wrong-Horse-7-Battery"},
    {"email": ""},
    {"password": ""},
    {"email": "no address"},
    {"email": "nul\x00@x.example"},
    {"email": "x" * 3_000},
    {"password": "x" * 3_000},
]


async def test_every_kind_of_wrong_is_told_in_the_same_words(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 79."""
    user = await suite.user(tenant)
    pages = []
    for wrong in WRONGS:
        async with browser_of(suite, tenant) as browser:
            page = await browser.send("/login", {"email": user.email, "password": PASSWORD, **wrong})
            pages.append((page.status_code, text_of(page)))
            assert "Error: Sign in" in page.text
            assert wrong.get("password", PASSWORD)[:50] not in page.text or not wrong.get("password", "x")
            assert (await browser.open()).text.count('name="password"') == 1
    assert WRONG in pages[0][1]
    assert pages == [(401, pages[0][1])] * len(WRONGS)
    events = [row.action for row in await security_events(suite, tenant)]
    assert events[-len(WRONGS) :] == ["login.failed"] * len(WRONGS)


async def test_what_was_typed_stays_but_the_password(suite: Suite, tenant: TenantHandle) -> None:
    async with browser_of(suite, tenant) as browser:
        page = await browser.sign_in('"><script>alert(1)</script>@x.example', "A-secret-of-mine-1")
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;@x.example" in page.text
    assert "A-secret-of-mine-1" not in page.text


async def test_too_many_failures_are_told_when_to_come_back(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 81: the page is held to the very counters of the API."""
    user = await suite.user(tenant)
    async with browser_of(suite, tenant) as browser:
        for _ in range(5):
            await browser.sign_in(user.email, "Wrong-Horse-7-Battery")
    login = {"email": user.email, "password": "Wrong-Horse-7-Battery", "tenantSlug": tenant.slug}
    for _ in range(11):
        await suite.post_anonymously("/api/v1/auth/login", login)
        await age_counters(suite, timedelta(hours=1))
    await suite.post_anonymously("/api/v1/auth/login", login)
    async with browser_of(suite, tenant) as browser:
        page = await browser.sign_in(user.email)
        assert page.status_code == 429
        assert re.search(r"Too many failed tries\. Try again in (\d+ \w+|a second)\.", page.text)
        assert int(page.headers["retry-after"]) > 0
        await age_counters(suite, timedelta(hours=1))
        assert (await browser.sign_in(user.email)).status_code == 303


UNSAFE = [
    *("/login", "/login/sign-out", "/login/forgot", "/login/second-step", "/login/passkey", "/login/token"),
    *("/login/passkeys", "/login/passkeys/options", f"/login/passkeys/{UUID(int=1)}/remove"),
]


@pytest.mark.parametrize("path", UNSAFE)
async def test_a_form_that_is_not_our_own_does_nothing(suite: Suite, tenant: TenantHandle, path: str) -> None:
    """Catalogue 78."""
    async with browser_of(suite, tenant) as browser, browser_of(suite, tenant) as another:
        await browser.sign_in(tenant.owner_email)
        own, others = csrf_of(await browser.open()), csrf_of(await another.open())
        for token, header in (("", ""), (others, ""), ("x" * 43, ""), ("", "x"), (f"{own}x", ""), ("é", "")):
            form = {"email": tenant.owner_email, "password": PASSWORD, "csrf": token}
            page = await browser.client.post(path, data=form, headers={"X-CSRF-Token": header})
            assert page.status_code == 403
            assert "This form was too old" in text_of(page)
            assert 'href="/login"' in page.text
        kept = browser.cookie or ""
        browser.client.cookies.clear()
        assert (await browser.client.post(path, data={"csrf": own})).status_code == 403
        browser.client.cookies.set(COOKIE, kept)
        assert "You are signed in" in (await browser.open()).text


async def test_a_script_of_our_page_may_send_the_token_as_a_header(
    suite: Suite, tenant: TenantHandle
) -> None:
    async with browser_of(suite, tenant) as browser:
        token = csrf_of(await browser.open())
        form = {"email": tenant.owner_email, "password": PASSWORD}
        answer = await browser.client.post("/login", data=form, headers={"X-CSRF-Token": token})
        assert answer.status_code == 303


async def test_signing_out_ends_the_session_on_the_server(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 77."""
    async with browser_of(suite, tenant) as browser:
        await browser.sign_in(tenant.owner_email)
        kept = browser.cookie
        answer = await browser.send("/login/sign-out", {}, seen_at="/login")
        assert (answer.status_code, browser.cookie) == (303, None)
        page = await browser.open(answer.headers["location"])
        assert "You are signed out." in text_of(page)
        browser.client.cookies.clear()
        page = await browser.client.get("/login", headers={"Cookie": f"{COOKIE}={kept}"})
        assert 'name="password"' in page.text
    assert (await audited(suite, tenant))[-1] == "session.logout"


ELSEWHERE = [
    *("//evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example", "https://evil.example"),
    *("https:/evil.example", "///evil.example", "/\t/evil.example", "/\n/evil.example", "\t//evil.example"),
    *(" //evil.example", "javascript:alert(1)", "data:text/html,x", "evil.example", "", "?x=//evil", "#x"),
    *("/a//evil.example", "/a\\b", "/\x00", "/é", "/a b", "/" + "x" * 3_000, "/.//evil.example", "/\r\nX: y"),
]
HERE = ["/", "/app", "/app?to=https://evil.example", "/app#//x", "/a/../b", "/app?x=%2f%2fevil", "/%5cevil"]


@pytest.mark.parametrize("text", ELSEWHERE)
def test_an_address_elsewhere_is_no_path_of_ours(text: str) -> None:
    """Catalogue 88."""
    assert safe_path(text) is None


@pytest.mark.parametrize("text", HERE)
def test_a_path_of_this_origin_is_one(text: str) -> None:
    assert safe_path(text) == text


@pytest.mark.parametrize(
    "text", ["//evil.example", "/\\evil.example", "https:evil.example", "/\t/evil.example"]
)
async def test_nobody_is_sent_elsewhere(suite: Suite, tenant: TenantHandle, text: str) -> None:
    """Catalogue 88."""
    async with browser_of(suite, tenant) as browser:
        page = await browser.open(params={"next": text})
        assert 'name="next"' not in page.text
        answer = await browser.sign_in(tenant.owner_email, next=text)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert "Continue" not in text_of(await browser.open(params={"next": text}))


async def test_a_browser_goes_on_to_where_it_was_going(suite: Suite, tenant: TenantHandle) -> None:
    text = "/app?to=https://evil.example#//x"
    async with browser_of(suite, tenant) as browser:
        assert 'name="next"' in (await browser.open(params={"next": text})).text
        answer = await browser.sign_in(tenant.owner_email, next=text)
        assert answer.headers["location"] == text
        assert "Continue" in text_of(await browser.open(params={"next": text}))


async def closed_to_strangers(suite: Suite) -> list[str]:
    """Return the slugs of tenants that strangers cannot know of, for whatever reason."""
    slugs = [f"nobody-{new_page_token(None).id.hex[:8]}"]
    for status in ("suspended", "pending_deletion"):
        tenant = await suite.tenant()
        await set_status(suite, tenant, status, "past_due")
        slugs.append(tenant.slug)
    return slugs


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_closed_tenant_has_no_page_as_if_it_were_not_there(suite: Suite, method: str) -> None:
    """Catalogue 4, 5."""
    pages = []
    for slug in await closed_to_strangers(suite):
        async with browser_at(suite, f"{slug}.mis.local") as browser:
            page = await browser.client.request(method, "/login")
            headers = {name: value for name, value in page.headers.items() if name != "x-request-id"}
            pages.append((page.status_code, page.text, headers))
    assert pages[0][0] == 404
    assert "There is no sign-in page here" in pages[0][1]
    assert pages == [pages[0]] * len(pages)


async def test_a_host_without_a_tenant_asks_for_one(suite: Suite, tenant: TenantHandle) -> None:
    async with browser_at(suite, "mis.local") as browser:
        page = await browser.open()
        assert page.status_code == 400
        assert "Which organisation?" in text_of(page)
        page = await browser.open(params={"tenant": tenant.slug})
        assert page.status_code == 200
        # The page goes on naming the tenant, since the host does not.
        assert f'action="/login?tenant={tenant.slug}"' in page.text
        answer = await browser.client.post(
            f"/login?tenant={tenant.slug}",
            data={"csrf": csrf_of(page), "email": tenant.owner_email, "password": PASSWORD},
        )
        assert answer.headers["location"] == f"/login?tenant={tenant.slug}"
        assert "You are signed in" in (await browser.open(answer.headers["location"])).text


async def test_a_program_gets_problems_as_everywhere(suite: Suite, tenant: TenantHandle) -> None:
    async with suite.client_at(fresh_address(), "https://mis.local") as client:
        for path, code in (("/login", "tenant_required"), ("/login/nowhere", "route_not_found")):
            answer = await client.get(path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == code
            page = await client.get(path, headers=HTML)
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert page.status_code == answer.status_code
            assert page.headers["x-request-id"]
            assert policy(page)["default-src"] == "'none'"


async def test_a_session_counts_in_its_own_tenant_alone(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 78, 70."""
    other = await suite.tenant()
    async with browser_at(suite, "mis.local") as browser:
        page = await browser.open(params={"tenant": tenant.slug})
        form = {"csrf": csrf_of(page), "email": tenant.owner_email, "password": PASSWORD}
        await browser.client.post("/login", params={"tenant": tenant.slug}, data=form)
        assert "You are signed in" in (await browser.open(params={"tenant": tenant.slug})).text
        assert "You are signed in" not in (await browser.open(params={"tenant": other.slug})).text
        assert (await browser.open(headers={"X-Tenant-Slug": other.slug})).status_code == 200


async def test_the_api_never_reads_the_cookie(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 78."""
    async with browser_of(suite, tenant) as browser:
        await browser.sign_in(tenant.owner_email)
        cookie = browser.cookie or ""
        answer = await browser.client.get("/api/v1/auth/me")
        assert (answer.status_code, answer.json()["code"]) == (401, "authentication_required")
        answer = await browser.client.post("/api/v1/auth/logout")
        assert answer.status_code == 401
        assert "You are signed in" in (await browser.open()).text
    for text in (cookie, cookie.replace("mis_ps_", "mis_rt_")):
        answer = await refresh(suite, text)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
    # Nor is a refresh token good as a cookie.
    for text in (tenant.owner.refresh_token, tenant.owner.refresh_token.replace("mis_rt_", "mis_ps_")):
        async with browser_of(suite, tenant) as browser:
            page = await browser.open(headers={"Cookie": f"{COOKIE}={text}"})
            assert "You are signed in" not in page.text


async def test_a_page_session_is_one_of_the_members_sessions(suite: Suite, tenant: TenantHandle) -> None:
    user = await suite.user(tenant)
    async with browser_of(suite, tenant) as browser:
        await browser.sign_in(user.email)
        listed = (await suite.client.get("/api/v1/auth/sessions", headers=bearer(user.token))).json()
        assert len(listed) == 2
        (own,) = [one["id"] for one in listed if not one["current"]]
        await suite.client.delete(f"/api/v1/auth/sessions/{own}", headers=bearer(user.token))
        assert 'name="password"' in (await browser.open()).text


@pytest.mark.parametrize("ending", ["idle", "absolute", "disabled", "restricted"])
async def test_a_session_ends_on_the_page_as_everywhere(
    suite: Suite, tenant: TenantHandle, ending: str
) -> None:
    user = await suite.user(tenant)
    async with browser_of(suite, tenant) as browser:
        await browser.sign_in(user.email)
        listed = (await suite.client.get("/api/v1/auth/sessions", headers=bearer(user.token))).json()
        (own,) = [one for one in listed if not one["current"]]
        changes: dict[str, Any] = {
            "idle": {"last_seen_at": own_time(own, days=2)},
            "absolute": {"expires_at": own_time(own, days=2)},
            "restricted": {"restricted": True},
        }
        if ending == "disabled":
            gone = update(UserRow).where(UserRow.id == user.id).values(status="disabled")
            await alter(suite, tenant, gone)
        else:
            await age_session(suite, tenant, own["id"], **changes[ending])
        page = await browser.open()
        assert 'name="password"' in page.text
        # A dead session's text is not kept as what forms are bound to.
        assert page.headers["set-cookie"].startswith(f"{COOKIE}=mis_pa_")


def own_time(listed: dict[str, Any], **before: float) -> Any:
    return datetime.fromisoformat(listed["createdAt"]) - timedelta(**before)


LOOK = {"name": "Acme & Söhne", "colors": {"primary": "#ffee00", "background": "#ffffff", "text": "#eeeeee"}}


async def test_the_page_has_the_tenants_look_in_colours_that_can_be_read(
    suite: Suite, tenant: TenantHandle
) -> None:
    look = LOOK | {"logo": "data:image/png;base64,iVBORw0KGgo="}
    answer = await suite.client.put(f"/api/v1/tenants/{tenant.id}/branding", json=look, headers=tenant.auth)
    assert answer.status_code == 200, answer.text
    async with browser_of(suite, tenant) as browser:
        page = await browser.open()
        assert "to Acme &amp; Söhne" in page.text
        logo = re.search(r'<img class="logo" src="([^"]+)" alt="">', page.text)
        assert logo is not None
        picture = await browser.open(logo[1].replace("&amp;", "&"))
        assert picture.headers["content-type"] == "image/png"
        colors = dict(re.findall(r"--([\w-]+): (#\w{6});", page.text))
        assert colors["primary"] == "#ffee00"
        assert (colors["on-primary"], colors["text"], colors["edge"]) == ("#000000", "#000000", "#000000")


async def test_a_plan_without_branding_shows_the_platforms_look(suite: Suite) -> None:
    tenant = await suite.tenant("premium", name="Secret Plans Ltd")
    await suite.client.put(f"/api/v1/tenants/{tenant.id}/branding", json=LOOK, headers=tenant.auth)
    body = {"configKey": "features.custom_branding", "configValue": False}
    answer = await suite.client.post(f"/api/v1/tenants/{tenant.id}/config", json=body, headers=tenant.auth)
    assert answer.status_code == 200, answer.text
    await suite.tenancy("auth").feed.poll()
    async with browser_of(suite, tenant) as browser:
        page = await browser.open()
    assert "--primary: #1d4ed8;" in page.text
    assert f"to {tenant.slug}" in text_of(page)
    # What a tenant is called is for its members, unless it shows its name itself.
    assert "Secret Plans" not in page.text


@pytest.mark.parametrize("path", ["/login", "/login/forgot", "/login/reset", "/nowhere", "/login/nowhere"])
async def test_a_page_runs_and_loads_nothing_that_is_not_ours(
    suite: Suite, tenant: TenantHandle, path: str
) -> None:
    async with browser_of(suite, tenant) as browser:
        page = await browser.open(path)
    if path == "/nowhere":
        assert page.headers["content-type"] == "application/problem+json"
        return
    allowed = policy(page)
    assert allowed["default-src"] == allowed["base-uri"] == allowed["frame-ancestors"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", page.text, re.S)
        digests = [base64.b64encode(sha256(text.encode()).digest()).decode() for text in inside]
        assert allowed.get(kind, "") == " ".join(f"'sha256-{digest}'" for digest in digests)
    assert " style=" not in page.text
    assert " on" not in re.sub(r">[^<]*<", "><", page.text.partition("<body>")[2])
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_asking_for_a_new_password_is_answered_alike_for_everybody(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 80."""
    user = await suite.user(tenant)
    said = []
    for email in (user.email, "nobody@nowhere.example", "", "x\x00y"):
        async with browser_of(suite, tenant) as browser:
            page = await browser.send("/login/forgot", {"email": email})
            said.append((page.status_code, text_of(page)))
    assert said == [(202, said[0][1])] * 4
    await write_resets(suite, tenant)
    assert [mail.to for mail in await mails_of(suite, tenant)][-1] == user.email


async def test_a_script_of_our_origin_gets_tokens_that_end_with_the_pages_session(
    suite: Suite, tenant: TenantHandle
) -> None:
    user = await suite.user(tenant, "viewer")
    as_script = {"Accept": "*/*"}
    async with browser_of(suite, tenant) as browser:
        for answer in (
            await browser.open("/login/session", headers=as_script),
            await browser.client.post("/login/token", headers=as_script),
        ):
            assert answer.status_code in (401, 403)
            assert answer.headers["content-type"] == "application/problem+json"
        await browser.sign_in(user.email)
        session = (await browser.open("/login/session", headers=as_script)).json()
        assert session["user"]["email"] == user.email
        assert session["tenant"]["slug"] == tenant.slug
        own = as_script | {"X-CSRF-Token": session["csrfToken"]}
        answer = await browser.client.post("/login/token", headers=own)
        assert answer.status_code == 200, answer.text
        token = answer.json()
        assert "refreshToken" not in token
        assert answer.headers["cache-control"] == "no-store"
        me = (await suite.client.get("/api/v1/auth/me", headers=bearer(token["token"]))).json()
        assert (me["user"]["id"], me["user"]["role"]) == (str(user.id), "viewer")
        assert me["session"]["current"] is True
        # Nobody else's page can ask: neither another browser's, nor one without the token.
        assert (await browser.client.post("/login/token", headers=as_script)).status_code == 403
        await browser.send("/login/sign-out", {}, seen_at="/login")
        await suite.tenancy("auth").feed.poll()
        gone = await suite.client.get("/api/v1/auth/me", headers=bearer(token["token"]))
        assert (gone.status_code, gone.json()["code"]) == (401, "token_revoked")
        assert (await browser.open("/login/session", headers=as_script)).status_code == 401


async def test_every_page_has_an_icon_so_that_no_browser_asks_for_one(suite: Suite) -> None:
    plain, own = await suite.tenant("basic"), await suite.tenant("premium")
    look = {"name": "Own", "logo": "data:image/png;base64,iVBORw0KGgo="}
    fine(await suite.client.put(f"/api/v1/tenants/{own.id}/branding", json=look, headers=own.auth))
    for path in (
        f"/login?tenant={plain.slug}",
        "/login/reset",
        f"/login?tenant={own.slug}",
        "/login/nothing",
    ):
        page = await suite.client.get(path, headers={"Accept": "text/html"})
        found = re.search(r'<link rel="icon" href="([^"]+)">', page.text)
        assert found is not None, path
        icon = await suite.client.get(unescape(found[1]))
        expected = "image/png" if own.slug in path else "image/svg+xml"
        assert (icon.status_code, icon.headers["content-type"]) == (200, expected)
        assert icon.headers["x-content-type-options"] == "nosniff"
