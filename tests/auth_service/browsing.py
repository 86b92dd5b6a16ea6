"""A browser as far as pages without scripts need one: it keeps cookies and sends forms back."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

import httpx

from tests.suite import PASSWORD, Suite, TenantHandle, fresh_address

COOKIE = "__Host-mis_session"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def csrf_of(page: httpx.Response) -> str:
    """Return the token in the first form of a page."""
    found = re.search(r'name="csrf" value="([\w-]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def text_of(page: httpx.Response) -> str:
    """Return what a page says, without its tags and its style."""
    body = page.text.partition("<body>")[2]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body))).strip()


@dataclass(slots=True)
class Browser:
    """A browser at one host; over https, because its cookie is for that alone."""

    client: httpx.AsyncClient

    @property
    def cookie(self) -> str | None:
        """What the session's cookie holds."""
        return self.client.cookies.get(COOKIE)

    async def open(self, path: str = "/login", **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)

    async def send(self, path: str, form: dict[str, str], *, seen_at: str | None = None) -> httpx.Response:
        """Open the page with the form, which stands at the same path or at `seen_at`, and send it."""
        page = await self.open(seen_at or path)
        return await self.client.post(path, data={"csrf": csrf_of(page), **form})

    async def sign_in(self, email: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        return await self.send("/login", {"email": email, "password": password, **fields})


@asynccontextmanager
async def browser_at(suite: Suite, host: str) -> AsyncIterator[Browser]:
    """Yield a browser from an address of its own."""
    async with suite.client_at(fresh_address(), f"https://{host}") as client:
        client.headers.update(HTML)
        yield Browser(client)


@asynccontextmanager
async def browser_of(suite: Suite, tenant: TenantHandle) -> AsyncIterator[Browser]:
    """Yield a browser at the tenant's subdomain."""
    async with browser_at(suite, f"{tenant.slug}.mis.local") as browser:
        yield browser
