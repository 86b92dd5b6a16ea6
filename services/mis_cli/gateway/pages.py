"""Answers the few paths that are answered in place, by GET and HEAD, and refuses others as services do."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mis_tenancy.error_responses import error_response
from mis_tenancy.errors import MethodNotAllowed, RouteNotFound
from mis_tenancy.http.requests import request_id_of

Page = Callable[[Scope], Awaitable[Response]]


class Pages:
    """An ASGI application of `pages`, by their paths."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        page = self._pages.get(scope["path"]) if scope["type"] == "http" else None
        if page is None:
            await error_response(RouteNotFound())(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await error_response(MethodNotAllowed(headers={"Allow": "GET, HEAD"}))(scope, receive, send)
        else:
            response = await page(scope)
            response.headers["x-request-id"] = request_id_of(scope)
            await response(scope, receive, send)
