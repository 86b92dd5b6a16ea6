"""The pages that show the API need nothing from elsewhere, and let nothing from elsewhere run."""

import re
from typing import Final

import httpx
import pytest
from starlette.types import ASGIApp

from mis_http.service.authorization import OPTIONAL
from mis_http.service.documentation import DESCRIPTION, PAGE, PATHS
from tests.chromium import site_of
from tests.suite import Suite, fresh_address

PARTS: Final = set(PATHS)


async def test_every_service_has_the_page_and_all_that_it_is_made_of(suite: Suite) -> None:
    apps: list[ASGIApp] = [suite.gateway, *suite.apps.values()]
    for app in apps:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for path in PARTS:
                answer = await client.get(path)
                assert (answer.status_code, answer.headers["x-content-type-options"]) == (200, "nosniff")
            page = (await client.get(PAGE)).text
            linked = set(re.findall(r'(?:src|href)="([^"]+)"', page))
            assert linked - {"data:,"} == PARTS - {PAGE}
            assert "script-src 'self';" in page


async def test_the_description_says_which_routes_need_a_bearer_and_lies_about_none(suite: Suite) -> None:
    document = (await suite.client.get(DESCRIPTION)).json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            # A stranger of its own each time, as there is a limit to what one may ask.
            async with suite.client_at(fresh_address()) as stranger:
                answer = await stranger.request(method, path.replace("{", "").replace("}", ""))
            wants_bearer = answer.status_code == 401 and answer.json()["code"] == "authentication_required"
            # A sign-out has to name a session, by a bearer or otherwise.
            if operation["security"] != OPTIONAL:
                assert (operation["security"] == [{"bearer": []}]) == wants_bearer, (method, path)


@pytest.mark.browser
async def test_a_browser_shows_the_routes_and_asks_nobody_else(suite: Suite) -> None:
    """Routes further down are drawn when one comes there."""
    async with site_of(suite) as site, site.window() as window:
        asked: list[str] = []
        window.page.on("request", lambda request: asked.append(request.url))
        await window.page.goto(window.url("localhost", PAGE))
        await window.page.get_by_text("List Plans").wait_for()
        await window.page.get_by_role("button", name="Authorize").wait_for()
        elsewhere = [url for url in asked if not url.startswith((window.url("localhost", "/"), "data:"))]
        assert elsewhere == []
