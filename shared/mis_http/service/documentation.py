"""The page that shows a description of an API: Swagger UI out of its wheel, so nothing comes from elsewhere.

It shares its origin with the sign-in page, where a script of somebody else's could act as whoever is signed
in. So the page's policy (CSP level 3) lets only the scripts beside it run, and it also works where browsers
do not reach the internet. The policy is part of the page, which a gateway may keep as a file.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

DESCRIPTION: Final = "/openapi.json"
PAGE: Final = "/docs"

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
<link rel="stylesheet" href="{PAGE}/swagger-ui.css">
<script src="{PAGE}/swagger-ui-bundle.js" defer></script>
<script src="{PAGE}/start.js" defer></script>
</head>
<body><div id="description"></div></body>
</html>
"""
_START: Final = f'SwaggerUIBundle({{url: "{DESCRIPTION}", dom_id: "#description", deepLinking: true}});\n'
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
    wheel = files("fastapi_swagger.resources")
    return MappingProxyType(
        {
            PAGE: Part(_HTML.format(title=escape(title)).encode(), "text/html"),
            f"{PAGE}/start.js": Part(_START.encode(), "text/javascript"),
            f"{PAGE}/swagger-ui-bundle.js": Part(
                (wheel / "swagger-ui-bundle.js").read_bytes(), "text/javascript"
            ),
            f"{PAGE}/swagger-ui.css": Part((wheel / "swagger-ui.css").read_bytes(), "text/css"),
        }
    )


def documentation_router(title: str) -> APIRouter:
    """Return the routes of a service's own page."""
    router = APIRouter(include_in_schema=False)
    for path, part in documentation(title).items():
        router.add_route(path, _answering(part))
    return router


def _answering(part: Part) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return part.answer()

    return answer
