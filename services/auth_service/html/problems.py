"""Shows problems below `/login` as pages to whoever wants pages, and leaves them as they are to programs.

It stands outside of everything else, because the middleware refuses requests that no handler ever sees.
"""

import json
from typing import Final
from urllib.parse import parse_qs, urlencode

from fastapi.responses import HTMLResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth_service.html.rendering import rendered
from auth_service.html.words import waiting_time, words_for
from mis_tenancy.http.requests import header_values
from mis_tenancy.slugs import parse_slug

_PAGES: Final = "/login"
_PROBLEM: Final = "application/problem+json"
# What describes the body that is replaced.
_OF_THE_BODY: Final = frozenset({"content-type", "content-length", "cache-control"})


class HtmlProblems:
    """ASGI middleware that turns problem documents into pages, for requests that accept HTML."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if is_for_a_person(scope):
            send = _Rewriting(scope, receive, send).send
        await self.app(scope, receive, send)


def is_for_a_person(scope: Scope) -> bool:
    """Return whether a browser asks for a page."""
    if scope["type"] != "http" or scope["method"] == "HEAD":
        return False
    path: str = scope["path"]
    return (path == _PAGES or path.startswith(f"{_PAGES}/")) and any(
        b"text/html" in value for value in header_values(scope, b"accept")
    )


class _Rewriting:
    """Holds a problem back until it is complete, and sends its page instead."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if Headers(raw=message["headers"]).get("content-type") == _PROBLEM:
                self._start = message
                return
        elif self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._answer(self._start)
            return
        await self._send(message)

    async def _answer(self, start: Message) -> None:
        headers = Headers(raw=start["headers"])
        page = problem_page(self._scope, start["status"], headers, bytes(self._body))
        await page(self._scope, self._receive, self._send)


def problem_page(scope: Scope, status: int, headers: Headers, body: bytes) -> HTMLResponse:
    """Return the page of a problem document, under the headers that it came with."""
    problem = json.loads(body)
    words = words_for(problem["code"], status)
    seconds = headers.get("retry-after", "")
    kept = {name: value for name, value in headers.items() if name not in _OF_THE_BODY}
    return rendered(
        "html/templates/problem.html",
        status=status,
        headers=kept,
        words=words,
        wait=waiting_time(int(seconds)) if seconds.isdigit() else None,
        request_id=problem["requestId"],
        back=_sign_in_page(scope) if words.leads_back else None,
    )


def _sign_in_page(scope: Scope) -> str:
    """Return the address of the sign-in page, at the tenant that the query names."""
    given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("tenant", [])
    slug = parse_slug(given[0]) if len(given) == 1 else None
    return _PAGES if slug is None else f"{_PAGES}?{urlencode({'tenant': slug})}"
