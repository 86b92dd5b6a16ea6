"""The page that shows a description of an API: Swagger UI out of its wheel, so nothing comes from elsewhere.

It shares its origin with the sign-in page, where a script of somebody else's could act as whoever is signed
in. So the page's policy (CSP level 3) lets only the scripts beside it run, and it also works where browsers
do not reach the internet. The policy is part of the page, which a gateway may keep as a file.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

DESCRIPTION: Final = "/openapi.json"
PAGE: Final = "/docs"
_START: Final = f"{PAGE}/start.js"
_SCRIPT: Final = f"{PAGE}/swagger-ui-bundle.js"
_STYLE: Final = f"{PAGE}/swagger-ui.css"
# The page, and all that it is made of.
PATHS: Final = (PAGE, _START, _SCRIPT, _STYLE)

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        # Its looks are in its style sheet, in attributes of elements and in small pictures.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
_HTML: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{title}}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{_STYLE}">
<script src="{_SCRIPT}" defer></script>
<script src="{_START}" defer></script>
</head>
<body><div id="description"></div></body>
</html>
"""
_STARTING: Final = f'SwaggerUIBundle({{url: "{DESCRIPTION}", dom_id: "#description", deepLinking: true}});\n'
_KEPT_FOR: Final = "public, max-age=86400"


@dataclass(frozen=True, slots=True)
class Part:
    """What is answered at one path."""

    content: bytes
    media_type: str

    def answer(self) -> Response:
        """Return it as a response."""
        is_page = self.media_type == "text/html"
        headers = {"Cache-Control": "no-cache" if is_page else _KEPT_FOR, "X-Content-Type-Options": "nosniff"}
        return Response(self.content, headers=headers, media_type=self.media_type)


def documentation(title: str) -> Mapping[str, Part]:
    """Return the parts of the page by their paths; the page itself comes first."""
    parts = (
        Part(_HTML.format(title=escape(title)).encode(), "text/html"),
        Part(_STARTING.encode(), "text/javascript"),
        _of_wheel("swagger-ui-bundle.js", "text/javascript"),
        _of_wheel("swagger-ui.css", "text/css"),
    )
    return dict(zip(PATHS, parts, strict=True))


def documentation_router(title: str) -> APIRouter:
    """Return the routes of a service's own page."""
    router = APIRouter(include_in_schema=False)
    for path, part in documentation(title).items():
        router.add_route(path, _answering(part))
    return router


@cache
def _of_wheel(name: str, media_type: str) -> Part:
    """Return a file of the wheel; all services of a process share it, as it takes two megabytes."""
    return Part((files("fastapi_swagger.resources") / name).read_bytes(), media_type)


def _answering(part: Part) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return part.answer()

    return answer
