"""The pages in a real Chromium: its cookies, its policy, its keyboard and what it tells a screen reader."""

import re
from typing import Any

import pytest
from playwright.async_api import Page

from tests.auth_service.browsing import COOKIE
from tests.auth_service.links import invite, new_address_link, reset_link, token_of
from tests.chromium import Site
from tests.suite import PASSWORD, TenantHandle

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
async def tenant(site: Site) -> TenantHandle:
    return await site.suite.tenant("premium")


async def cookies(page: Page) -> list[dict[str, Any]]:
    return [dict(one) for one in await page.context.cookies() if one.get("name") == COOKIE]


async def reached_by_tab(page: Page, steps: int) -> list[str]:
    """Return the names of what has the focus first, and of what Tab reaches from there."""
    focused = "(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()"
    names = [await page.evaluate(focused)]
    for _ in range(steps):
        await page.keyboard.press("Tab")
        names.append(await page.evaluate(focused))
    return names


async def test_one_signs_in_and_out_by_keyboard_alone(site: Site, tenant: TenantHandle) -> None:
    async with site.window() as window:
        page = window.page
        await window.open(tenant)
        assert await reached_by_tab(page, 3) == [
            "E-mail address",
            "Password",
            "Sign in",
            "Forgot your password?",
        ]
        await page.get_by_label("E-mail address").focus()
        await page.keyboard.type(tenant.owner_email)
        await page.keyboard.press("Tab")
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="You are signed in").wait_for()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.get_by_role("status").filter(has_text="You are signed out.").wait_for()
        assert (await page.title()).startswith("Sign in ")


async def test_a_screen_reader_hears_the_form_and_what_went_wrong(site: Site, tenant: TenantHandle) -> None:
    async with site.window() as window:
        page = window.page
        await window.open(tenant)
        heard = await page.locator("main").aria_snapshot()
        for line in (
            'heading "Sign in" [level=1]',
            'textbox "E-mail address"',
            'textbox "Password"',
            'button "Sign in"',
            'link "Forgot your password?"',
        ):
            assert line in heard
        await window.fill_in(tenant.owner_email, "Wrong-Horse-7-Battery")
        assert "alert" in await page.locator("main").aria_snapshot()
        assert (await page.title()).startswith("Error: ")
        # The focus is where one types again, and that field is described by the reason.
        assert await page.evaluate("document.activeElement.id") == "password"
        described = await page.evaluate(
            "document.getElementById(document.activeElement.getAttribute('aria-describedby')).textContent"
        )
        assert described == "The e-mail address or the password is wrong."
        assert await page.locator("html").get_attribute("lang") == "en"


async def test_the_browser_keeps_the_cookie_from_scripts_and_from_other_hosts(
    site: Site, tenant: TenantHandle
) -> None:
    """Catalogue 78."""
    other = await site.suite.tenant()
    async with site.window() as window:
        page = window.page
        await window.open(tenant)
        (before,) = await cookies(page)
        await window.fill_in(tenant.owner_email, PASSWORD)
        (kept,) = await cookies(page)
        assert kept["value"] != before["value"]
        assert (kept["httpOnly"], kept["secure"], kept["sameSite"]) == (True, True, "Lax")
        assert (kept["domain"], kept["path"], kept["expires"]) == (f"{tenant.slug}.localhost", "/", -1)
        assert COOKIE not in await page.evaluate("document.cookie")
        async with page.expect_request(re.compile(r"/login$")) as asked:
            await window.open(other)
        sent = (await (await asked.value).all_headers()).get("cookie", "")
        assert kept["value"] not in sent
        assert await page.get_by_role("button", name="Sign in", exact=True).is_visible()
        await window.open(tenant)
        assert await page.get_by_role("heading", name="You are signed in").is_visible()


async def test_a_page_of_another_tenant_cannot_send_our_forms(site: Site, tenant: TenantHandle) -> None:
    """Catalogue 78."""
    other = await site.suite.tenant()
    async with site.window(bypass_csp=True) as window:
        page = window.page
        await window.open(tenant)
        await window.fill_in(tenant.owner_email, PASSWORD)
        await window.open(other)
        theirs = await page.locator('input[name="csrf"]').get_attribute("value")
        target = window.url(f"{tenant.slug}.localhost", "/login/sign-out")
        async with page.expect_response(target) as answered:
            await page.evaluate(
                """([target, csrf]) => {
                  const form = document.createElement("form");
                  form.method = "post"; form.action = target;
                  form.innerHTML = `<input name="csrf" value="${csrf}">`;
                  document.body.append(form); form.submit();
                }""",
                [target, theirs],
            )
        assert (await answered.value).status == 403
        await page.get_by_role("heading", name="This form was too old").wait_for()
        await window.open(tenant)
        assert await page.get_by_role("heading", name="You are signed in").is_visible()


async def test_the_page_works_without_scripts(site: Site, tenant: TenantHandle) -> None:
    async with site.window(java_script_enabled=False) as window:
        await window.open(tenant, "/login?next=/login/forgot")
        await window.fill_in(tenant.owner_email, PASSWORD)
        assert window.page.url == window.url(f"{tenant.slug}.localhost", "/login/forgot")


async def test_a_page_fits_a_narrow_screen_and_large_letters(site: Site, tenant: TenantHandle) -> None:
    """WCAG 2.2 §1.4.10: nothing scrolls sideways at 320 pixels; §2.5.8: what is pressed is large enough."""
    async with site.window(viewport={"width": 320, "height": 640}) as window:
        await window.open(tenant)
        assert await window.page.evaluate("document.documentElement.scrollWidth") == 320
        for control in await window.page.locator("a, button, input:not([type=hidden])").all():
            box = await control.bounding_box()
            assert box is not None
            assert box["height"] >= 24


async def test_mailed_links_lead_to_pages_that_work(site: Site, tenant: TenantHandle) -> None:
    suite, host = site.suite, "127.0.0.1"
    link = (await invite(suite, tenant))["acceptUrl"]
    async with site.window() as window:
        page = window.page
        await page.goto(window.url(host, f"/login/invitation?token={token_of(link)}"))
        # The token is in nobody's history.
        assert page.url == window.url(host, "/login/invitation")
        await page.get_by_label("Your name").fill("Ina Invited")
        await page.get_by_label("A password").fill("short")
        await page.get_by_role("button", name="Join").click()
        await page.get_by_text("A password needs at least 10 characters, needs").wait_for()
        await page.get_by_label("A password").fill(PASSWORD)
        await page.get_by_role("button", name="Join").click()
        await page.get_by_text("Welcome.").wait_for()

    user = await suite.user(tenant)
    async with site.window() as window:
        page = window.page
        reset = token_of(await reset_link(suite, tenant, user.email))
        await page.goto(window.url(host, f"/login/reset?token={reset}"))
        await page.get_by_label("The new password").fill("Another-Staple-8-Horse")
        await page.get_by_role("button", name="Set it").click()
        await page.get_by_text("Your password is set.").wait_for()

    again = await suite.sign_in(tenant.slug, user.email, "Another-Staple-8-Horse")
    async with site.window() as window:
        page = window.page
        moved = token_of(await new_address_link(suite, tenant, again, f"new-{user.email}"))
        await page.goto(window.url(host, f"/login/email?token={moved}"))
        await page.get_by_role("button", name="Confirm it").click()
        await page.get_by_text("The address is confirmed.").wait_for()


async def test_the_cookie_of_a_page_opens_nothing_of_the_api(site: Site, tenant: TenantHandle) -> None:
    """Catalogue 78."""
    async with site.window() as window:
        await window.open(tenant)
        await window.fill_in(tenant.owner_email, PASSWORD)
        answer = await window.open(tenant, "/api/v1/auth/me")
        assert (answer.status, (await answer.json())["code"]) == (401, "authentication_required")
