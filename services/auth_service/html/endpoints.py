"""HTTP of the icon that browsers show beside a page's title, where the tenant has no logo."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response

from mis_http.routes.direct_route import DirectRoute

router = APIRouter(prefix="/login", tags=["pages"], route_class=DirectRoute)

_ICON: Final = (Path(__file__).parent / "icon.svg").read_bytes()
_HEADERS: Final = {
    "Cache-Control": "public, max-age=86400",
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/icon.svg", response_class=Response)
async def read_icon() -> Response:
    """Return the pages' icon, the same for everybody."""
    return Response(_ICON, media_type="image/svg+xml", headers=_HEADERS)
