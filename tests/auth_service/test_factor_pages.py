"""The second factor and passkeys at the sign-in page, as a browser without scripts uses it."""

import json
import re
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.answers import fine
from tests.auth_service.authenticator import Authenticator
from tests.auth_service.browsing import Browser, browser_at, browser_of, csrf_of, text_of
from tests.auth_service.factors import App, with_app
from tests.auth_service.passkeys import browser_of as device_of
from tests.auth_service.test_mfa import age_sign_in
from tests.suite import Suite, TenantHandle

PASSKEY_BUTTON = "Sign in with a passkey"


@pytest.fixture
async def tenant(suite: Suite) -> TenantHandle:
    return await suite.tenant("premium")


@pytest.fixture
async def app(suite: Suite, tenant: TenantHandle) -> App:
    return await with_app(suite, tenant, tenant.owner)


def hidden(page: httpx.Response, name: str) -> str:
    """Return what the page's form holds under a name."""
    found = re.search(rf'name="{name}" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


async def answer(browser: Browser, page: httpx.Response, **typed: str) -> httpx.Response:
    """Send the second step's form back."""
    held = {"csrf": csrf_of(page), "mfaToken": hidden(page, "mfaToken")}
    return await browser.client.post("/login/second-step", data=held | typed)


@pytest.mark.parametrize("way", ["code", "recoveryCode"])
async def test_the_second_step_is_a_page_of_its_own(
    suite: Suite, tenant: TenantHandle, app: App, way: str
) -> None:
    right = {"code": await app.code(), "recoveryCode": app.recovery_codes[0]}
    async with browser_of(suite, tenant) as browser:
        page = await browser.sign_in(tenant.owner_email, next="/login/forgot")
        assert page.status_code == 200
        assert "Confirm that it is you" in text_of(page)
        assert "You are signed in" not in (await browser.open()).text
        page = await answer(browser, page, **{way: "000000"}, next="/login/forgot")
        assert page.status_code == 401
        assert "The code is wrong, or was used already." in text_of(page)
        assert "000000" not in page.text
        done = await answer(browser, page, **{way: right[way]}, next=hidden(page, "next"))
        assert (done.status_code, done.headers["location"]) == (303, "/login/forgot")
        assert "You are signed in" in (await browser.open()).text


async def test_who_takes_too_long_starts_again(suite: Suite, tenant: TenantHandle, app: App) -> None:
    async with browser_of(suite, tenant) as browser:
        page = await browser.sign_in(tenant.owner_email)
        form = {"csrf": csrf_of(page), "mfaToken": "mis_mf_old", "code": await app.code()}
        page = await browser.client.post("/login/second-step", data=form)
        assert page.status_code == 401
        assert "That took too long. Sign in again." in text_of(page)
        assert 'name="password"' in page.text


async def test_too_many_wrong_codes_wait(suite: Suite, tenant: TenantHandle, app: App) -> None:
    async with browser_of(suite, tenant) as browser:
        page = await browser.sign_in(tenant.owner_email)
        for _ in range(10):
            page = await answer(browser, page, code="000000")
        page = await answer(browser, page, code=await app.code())
        assert page.status_code == 429
        assert "Too many failed tries." in text_of(page)


async def offered(suite: Suite, tenant: TenantHandle, host: str | None = None) -> bool:
    async with browser_at(suite, host or f"{tenant.slug}.mis.local") as browser:
        return PASSKEY_BUTTON in (await browser.open(f"/login?tenant={tenant.slug}")).text


async def test_passkeys_are_offered_where_plan_and_host_have_them(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 95."""
    assert await offered(suite, tenant)
    assert await offered(suite, tenant, "mis.local")
    assert not await offered(suite, tenant, "127.0.0.1")
    assert not await offered(suite, await suite.tenant("basic"))


async def test_a_passkey_signs_in_at_the_page(suite: Suite, tenant: TenantHandle, app: App) -> None:
    """Also past a second factor, since it is both."""
    device = device_of(suite, tenant)
    await device.register(tenant.owner)
    async with browser_of(suite, tenant) as browser:
        asked = await device.ask_to_sign_in()
        proof = device.device.get(asked["publicKey"])
        form = {"challengeToken": asked["challengeToken"], "credential": json.dumps(proof), "next": "/login"}
        done = await browser.send("/login/passkey", form, seen_at="/login")
        assert (done.status_code, done.headers["location"]) == (303, "/login")
        assert "You are signed in" in (await browser.open()).text
        again = await browser.client.post(
            "/login/passkey", data=form | {"csrf": csrf_of(await browser.open())}
        )
        assert again.status_code == 401
        assert "The passkey could not be verified. Try again." in text_of(again)


@pytest.mark.parametrize("credential", ["", "{", "[]", "1", "[" * 5_000, '{"id": 1}'])
async def test_a_form_of_junk_is_a_wrong_passkey(suite: Suite, tenant: TenantHandle, credential: str) -> None:
    async with browser_of(suite, tenant) as browser:
        form = {"challengeToken": "x", "credential": credential}
        page = await browser.send("/login/passkey", form, seen_at="/login")
        assert page.status_code == 401


async def registered(browser: Browser, **fields: str) -> httpx.Response:
    """Register a passkey through the page's own routes, as its script does."""
    device = Authenticator("http://" + browser.client.base_url.host)
    csrf = {"csrf": csrf_of(await browser.open())}
    headers = {"X-CSRF-Token": csrf["csrf"], "Accept": "*/*"}
    question: Any = fine(await browser.client.post("/login/passkeys/options", headers=headers))
    made = device.create(question["publicKey"])
    form = {"challengeToken": question["challengeToken"], "credential": json.dumps(made), **fields}
    return await browser.client.post("/login/passkeys", data=form | csrf)


async def test_a_visitor_adds_and_removes_passkeys(suite: Suite, tenant: TenantHandle) -> None:
    async with browser_of(suite, tenant) as browser:
        await browser.sign_in(tenant.owner_email)
        done = await registered(browser, name="<b>My\x00phone</b>")
        assert (done.status_code, done.headers["location"]) == (303, "/login")
        page = await browser.open()
        assert "<b>" not in page.text
        assert "<b>My\N{REPLACEMENT CHARACTER}phone</b>" in text_of(page).replace("&lt;", "<")
        action = re.search(r'action="(/login/passkeys/[\w-]+/remove)"', page.text)
        assert action is not None
        done = await browser.client.post(action[1], data={"csrf": csrf_of(page)})
        assert done.status_code == 303
        assert "None yet." in text_of(await browser.open())
        gone = await browser.client.post(action[1], data={"csrf": csrf_of(await browser.open())})
        assert gone.status_code == 404


async def test_nobody_changes_passkeys_without_a_session_or_long_after_it_began(
    suite: Suite, tenant: TenantHandle
) -> None:
    async with browser_of(suite, tenant) as browser:
        for path in ("/login/passkeys/options", "/login/passkeys", f"/login/passkeys/{uuid4()}/remove"):
            page = await browser.open()
            assert (await browser.client.post(path, data={"csrf": csrf_of(page)})).status_code == 401
        await browser.sign_in(tenant.owner_email)
        await registered(browser)
        await age_sign_in(suite, tenant, tenant.owner)
        page = await browser.open()
        action = re.search(r'action="(/login/passkeys/[\w-]+/remove)"', page.text)
        assert action is not None
        refusal = await browser.client.post(action[1], data={"csrf": csrf_of(page)})
        assert refusal.status_code == 403
        assert "Sign out, sign in again" in text_of(refusal)
        headers = {"X-CSRF-Token": csrf_of(await browser.open()), "Accept": "*/*"}
        refusal = await browser.client.post("/login/passkeys/options", headers=headers)
        assert (refusal.status_code, refusal.json()["code"]) == (403, "proof_required")
