"""The pages that show the API need nothing from elsewhere, and let nothing from elsewhere run."""

import re
from typing import Final

import httpx
import pytest
from playwright.async_api import expect

from mis_http.documentation import DESCRIPTION, PAGE, documentation
from tests.chromium import site_of
from tests.suite import Suite

PARTS: Final = set(documentation(""))


async def test_every_service_has_the_page_and_all_that_it_is_made_of(suite: Suite) -> None:
    for app in (suite.gateway, *suite.apps.values()):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for path in PARTS:
                answer = await client.get(path)
                assert (answer.status_code, answer.headers["x-content-type-options"]) == (200, "nosniff")
            page = (await client.get(PAGE)).text
            linked = set(re.findall(r'(?:src|href)="([^"]+)"', page))
            assert linked - {"data:,"} == PARTS - {PAGE}
            assert "script-src 'self';" in page


@pytest.mark.browser
async def test_a_browser_shows_every_route_and_asks_nobody_else(suite: Suite) -> None:
    async with site_of(suite) as site, site.window() as window:
        asked: list[str] = []
        window.page.on("request", lambda request: asked.append(request.url))
        await window.page.goto(window.url("localhost", PAGE))
        paths = (await suite.client.get(DESCRIPTION)).json()["paths"]
        routes = sum(len(methods) for methods in paths.values())
        await expect(window.page.locator(".opblock")).to_have_count(routes, timeout=60_000)
        elsewhere = [url for url in asked if not url.startswith((window.url("localhost", "/"), "data:"))]
        assert elsewhere == []
        await window.page.screenshot(path="/tmp/docs-page.png")  # noqa
