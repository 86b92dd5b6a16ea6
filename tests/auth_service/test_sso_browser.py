"""Single sign-on in a real Chromium: from the sign-in page to a provider and back."""

import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from playwright.async_api import Page

from tests.auth_service.browsing import COOKIE
from tests.auth_service.openid_provider import Provider, providing
from tests.auth_service.sso import person_of, tenant_with
from tests.chromium import Site, site_of
from tests.servers import TestServers
from tests.suite import PASSWORD, running_suite

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
async def site(test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A suite that knows the port it is served at, because providers send browsers back there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory = tmp_path_factory.mktemp("sso-browser")
    settings = {"public_url": f"http://localhost:{port}", "sso_allow_private": True}
    async with running_suite(test_servers, directory, **settings) as suite, site_of(suite, port) as site:
        yield site


@pytest.fixture
async def provider(site: Site) -> AsyncIterator[Provider]:
    async with providing() as provider:
        site.suite.apps["auth"].state.providers._published.clear()
        yield provider


async def names_of_cookies(page: Page) -> set[str]:
    return {str(one.get("name")) for one in await page.context.cookies()}


async def sign_in_at_the_provider(page: Page) -> None:
    await page.get_by_role("link", name="Sign in with single sign-on").click()
    await page.wait_for_load_state()


async def test_one_goes_to_the_provider_and_comes_back_signed_in(site: Site, provider: Provider) -> None:
    """Catalogue 88, 78."""
    tenant = await tenant_with(site.suite, provider, jit={"enabled": True, "role": "viewer"})
    provider.person = person_of(tenant)
    async with site.window() as window:
        page = window.page
        await window.open(tenant, "/login?next=/login/session")
        before = await page.context.cookies()
        await sign_in_at_the_provider(page)
        assert page.url == window.url(f"{tenant.slug}.localhost", "/login/session")
        assert provider.person["email"] in await page.content()
        # What bound the attempt to the browser is gone, and the session is a new cookie.
        assert await names_of_cookies(page) == {COOKIE}
        assert {one.get("value") for one in before}.isdisjoint(
            {one.get("value") for one in await page.context.cookies()}
        )
        await window.open(tenant)
        await page.get_by_role("heading", name="You are signed in").wait_for()
        assert "Petra Person" in await page.locator("main").inner_text()
        assert await page.evaluate("document.cookie") == ""


async def test_the_way_back_opens_nothing_in_another_browser(site: Site, provider: Provider) -> None:
    """Catalogue 88."""
    tenant = await tenant_with(site.suite, provider, jit={"enabled": True})
    provider.person = person_of(tenant)
    async with site.window() as window, httpx.AsyncClient() as thief:
        await window.open(tenant)
        # The thief signs in at the provider, and lets somebody else take the way back.
        start = window.url("127.0.0.1", "/login/sso/start")
        out = await thief.get(start, headers={"Host": f"{tenant.slug}.localhost:{site.port}"})
        back = (await thief.get(out.headers["location"])).headers["location"]
        assert back.startswith(window.url(f"{tenant.slug}.localhost", "/login/sso/callback?"))
        before = await window.page.context.cookies()
        await window.page.goto(back)
        await window.page.get_by_role("heading", name="This sign-in is not valid any more").wait_for()
        assert await window.page.context.cookies() == before
        assert "/token" not in provider.asked


async def test_where_it_is_enforced_members_come_by_it_alone_and_owners_by_their_password_too(
    site: Site, provider: Provider
) -> None:
    """Catalogue 88."""
    tenant = await tenant_with(site.suite, provider)
    member = await site.suite.user(tenant, "member", email=f"m@{tenant.slug}.example")
    value = provider.config(allowedDomains=[f"{tenant.slug}.example"], enforce=True)
    body = {"configKey": "sso.oidc", "configValue": value, "isEncrypted": True}
    path = f"/api/v1/tenants/{tenant.id}/config"
    answer = await site.suite.client.post(path, json=body, headers=tenant.auth)
    assert answer.status_code == 200, answer.text
    provider.person = person_of(tenant, email=member.email)
    async with site.window() as window:
        page = window.page
        await window.open(tenant)
        assert "Owners can also sign in with their password." in await page.locator("main").inner_text()
        await window.fill_in(member.email, PASSWORD)
        said = await page.get_by_role("alert").inner_text()
        assert said == "Your organisation signs you in by single sign-on alone."
        await sign_in_at_the_provider(page)
        await page.get_by_role("heading", name="You are signed in").wait_for()
        assert member.email in await page.locator("main").inner_text()
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("status").filter(has_text="You are signed out.").wait_for()
        await window.fill_in(tenant.owner_email, PASSWORD)
        await page.get_by_role("heading", name="You are signed in").wait_for()


async def test_whom_the_provider_lets_down_is_told_and_led_back(site: Site, provider: Provider) -> None:
    tenant = await tenant_with(site.suite, provider)
    provider.denies = True
    async with site.window() as window:
        page = window.page
        await window.open(tenant)
        await sign_in_at_the_provider(page)
        await page.get_by_role("heading", name="You were not signed in").wait_for()
        await page.get_by_role("link", name="Go to the sign-in page").click()
        await page.get_by_role("heading", name="Sign in", exact=True).wait_for()
