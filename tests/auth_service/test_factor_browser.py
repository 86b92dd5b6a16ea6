"""Second factors and passkeys in a real Chromium, whose devices are virtual ones of its own."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import CDPSession, Page

from tests.auth_service.factors import with_app
from tests.chromium import Site, Window
from tests.suite import PASSWORD, TenantHandle

pytestmark = pytest.mark.browser

DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
async def tenant(site: Site) -> TenantHandle:
    return await site.suite.tenant("premium")


@dataclass(frozen=True, slots=True)
class Device:
    """A window with a device that keeps passkeys (the WebAuthn domain of the DevTools protocol)."""

    window: Window
    session: CDPSession
    id: str

    @property
    def page(self) -> Page:
        return self.window.page

    async def credentials(self) -> list[dict[str, Any]]:
        told = await self.session.send("WebAuthn.getCredentials", {"authenticatorId": self.id})
        found: list[dict[str, Any]] = told["credentials"]
        return found

    async def verifies(self, is_verified: bool) -> None:
        """Let the device know its owner from now on, or not."""
        verified = {"authenticatorId": self.id, "isUserVerified": is_verified}
        await self.session.send("WebAuthn.setUserVerified", verified)

    async def sign_in(self, tenant: TenantHandle) -> None:
        """Sign in with the password, and wait for the page that says so."""
        await self.window.open(tenant)
        await self.window.fill_in(tenant.owner_email, PASSWORD)
        await self.page.get_by_role("heading", name="You are signed in").wait_for()

    async def add_passkey(self, name: str) -> None:
        await self.page.get_by_label("Name of the new passkey").fill(name)
        await self.page.get_by_role("button", name="Add a passkey").click()
        await self.page.get_by_role("listitem").filter(has_text=name).wait_for()
        await self.page.wait_for_load_state()

    async def sign_out(self) -> None:
        await self.page.get_by_role("button", name="Sign out").click()
        await self.page.get_by_text("You are signed out.").wait_for()

    async def use_passkey(self) -> None:
        await self.page.get_by_role("button", name="Sign in with a passkey").click()


@asynccontextmanager
async def device(site: Site) -> AsyncIterator[Device]:
    async with site.window() as window:
        session = await window.page.context.new_cdp_session(window.page)
        await session.send("WebAuthn.enable", {"enableUI": False})
        added = await session.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
        yield Device(window, session, added["authenticatorId"])


async def test_a_passkey_is_made_at_the_page_and_signs_in_there(site: Site, tenant: TenantHandle) -> None:
    """Catalogue 87."""
    async with device(site) as own:
        await own.sign_in(tenant)
        await own.add_passkey("My laptop")
        (kept,) = await own.credentials()
        assert kept["rpId"] == f"{tenant.slug}.localhost"
        assert kept["isResidentCredential"] is True
        await own.sign_out()
        await own.use_passkey()
        await own.page.get_by_role("heading", name="You are signed in").wait_for()
        assert await own.page.get_by_text(tenant.owner_email).is_visible()
        assert (await own.credentials())[0]["signCount"] > kept["signCount"]


async def test_a_second_passkey_on_one_device_is_not_made(site: Site) -> None:
    tenant = await site.suite.tenant("premium")
    async with device(site) as own:
        await own.sign_in(tenant)
        await own.add_passkey("My laptop")
        await own.page.get_by_role("button", name="Add a passkey").click()
        await own.page.get_by_text("This device holds a passkey of yours already.").wait_for()
        assert len(await own.credentials()) == 1
        await own.page.get_by_role("button", name="Remove My laptop").click()
        await own.page.get_by_text("None yet.").wait_for()
        await own.sign_out()
        # The device still has it, and nobody knows it any more.
        await own.use_passkey()
        await own.page.get_by_role("alert").filter(has_text="could not be verified").wait_for()


async def test_a_device_that_does_not_know_its_owner_neither_makes_nor_uses_passkeys(site: Site) -> None:
    """Catalogue 87."""
    tenant = await site.suite.tenant("premium")
    async with device(site) as own:
        await own.sign_in(tenant)
        await own.add_passkey("My laptop")
        await own.verifies(False)
        await own.sign_out()
        await own.use_passkey()
        await own.page.get_by_text("No passkey was used.").wait_for()
        await own.verifies(True)
        await own.use_passkey()
        await own.page.get_by_role("heading", name="You are signed in").wait_for()


async def test_at_another_tenant_the_browser_shows_no_passkey_of_ours(
    site: Site, tenant: TenantHandle
) -> None:
    """Catalogue 87."""
    other = await site.suite.tenant("premium")
    async with device(site) as own:
        await own.sign_in(tenant)
        await own.add_passkey("My laptop")
        await own.window.open(other)
        await own.use_passkey()
        await own.page.get_by_text("No passkey was used.").wait_for()


async def test_the_second_factor_is_asked_for_and_reached_by_keyboard(site: Site) -> None:
    tenant = await site.suite.tenant("premium")
    app = await with_app(site.suite, tenant, tenant.owner)
    async with site.window() as window:
        page = window.page
        await window.open(tenant)
        await window.fill_in(tenant.owner_email, PASSWORD)
        await page.get_by_role("heading", name="Confirm that it is you").wait_for()
        # The focus is where the code is typed, and phones offer it from there.
        focused = page.locator(":focus")
        assert await focused.get_attribute("autocomplete") == "one-time-code"
        await page.keyboard.type("000000")
        await page.keyboard.press("Enter")
        await page.get_by_role("alert").filter(has_text="The code is wrong").wait_for()
        assert (await page.title()).startswith("Error: ")
        await page.keyboard.type(await app.code())
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="You are signed in").wait_for()


async def test_a_recovery_code_stands_in_for_the_app(site: Site) -> None:
    tenant = await site.suite.tenant("premium")
    app = await with_app(site.suite, tenant, tenant.owner)
    async with site.window(java_script_enabled=False) as window:
        page = window.page
        await window.open(tenant, "/login?next=/login/forgot")
        await window.fill_in(tenant.owner_email, PASSWORD)
        await page.get_by_text("I do not have my app at hand").click()
        await page.get_by_label("Recovery code").fill(app.recovery_codes[0])
        await page.get_by_role("button", name="Continue").click()
        await page.wait_for_url(re.compile("/login/forgot$"))


async def test_the_pages_of_factors_fit_a_narrow_screen(site: Site) -> None:
    """WCAG 2.2 §1.4.10, §2.5.8."""
    tenant = await site.suite.tenant("premium")
    async with device(site) as own:
        await own.page.set_viewport_size({"width": 320, "height": 640})
        await own.sign_in(tenant)
        await own.add_passkey("A name that is far too long for a narrow screen, and is wrapped")
        await fits(own.page)
        await with_app(site.suite, tenant, tenant.owner)
        await own.sign_out()
        await fits(own.page)
        await own.window.fill_in(tenant.owner_email, PASSWORD)
        await own.page.get_by_text("I do not have my app at hand").click()
        await fits(own.page)


async def fits(page: Page) -> None:
    """Nothing scrolls sideways, and what is pressed is large enough."""
    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    for control in await page.locator("a, button, summary, input:not([type=hidden])").all():
        box = await control.bounding_box()
        assert box is not None
        assert box["height"] >= 24
