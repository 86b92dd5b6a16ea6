"""A real browser in front of the suite behind a real server, for the pages and whatever they run.

It is the machine's own Chromium (Debian's `chromium`), which reaches `http://<slug>.localhost:<port>` without
any name server. Where there is none, the tests that want one skip themselves and say so.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.integration.wire import served
from tests.suite import Suite, TenantHandle

EXECUTABLE: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
ARGUMENTS: Final = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")
# What a page's policy refused, and what its scripts died of, told by the browser itself.
_LISTENER: Final = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error("policy: " + event.effectiveDirective + " " + event.blockedURI);
});
"""


@dataclass(slots=True)
class Window:
    """One window of a browser without any past, and what went wrong in it."""

    page: Page
    port: int
    complaints: list[str] = field(default_factory=list)

    def url(self, host: str, path: str = "/login") -> str:
        return f"http://{host}:{self.port}{path}"

    async def open(self, tenant: TenantHandle, path: str = "/login") -> Any:
        """Open a page at the tenant's subdomain."""
        return await self.page.goto(self.url(f"{tenant.slug}.localhost", path))

    async def fill_in(self, email: str, password: str) -> None:
        """Type into the form of the sign-in page, and send it."""
        await self.page.get_by_label("E-mail address").fill(email)
        await self.page.get_by_label("Password", exact=True).fill(password)
        await self.page.get_by_role("button", name="Sign in", exact=True).click()
        await self.page.wait_for_load_state()


@dataclass(frozen=True, slots=True)
class Site:
    """The suite at a port of this machine, and a browser that is at home there."""

    suite: Suite
    port: int
    browser: Browser

    @asynccontextmanager
    async def window(self, **options: Any) -> AsyncIterator[Window]:
        """Yield a window of its own; nothing may break a page's policy or a script while it is open."""
        context = await self.browser.new_context(**options)
        context.set_default_timeout(15_000)
        await context.add_init_script(_LISTENER)
        page = await context.new_page()
        window = Window(page, self.port)

        def hear(said: Any) -> None:
            # An answer of 4xx is a page like any other; Chromium notes each on the console.
            if said.type == "error" and "Failed to load resource" not in said.text:
                window.complaints.append(said.text)

        context.on("console", hear)
        context.on("weberror", lambda failed: window.complaints.append(str(failed.error)))
        try:
            yield window
            assert window.complaints == []
        finally:
            await context.close()


@asynccontextmanager
async def site_of(suite: Suite, port: int = 0) -> AsyncIterator[Site]:
    """Yield the suite, at `port` if given, with a browser; skip the test where the machine has none."""
    if EXECUTABLE is None:
        pytest.skip("There is no Chromium on this machine: `apt-get install chromium` brings one.")
    async with served(suite, port) as port, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=EXECUTABLE, args=[*ARGUMENTS])
        yield Site(suite, port, browser)
        await browser.close()
