"""The one cookie of our pages (RFC 6265bis): what is in it, and how it is set and dropped.

`__Host-` binds it to the host that set it: the pages of another tenant neither see nor overwrite it. Before
anybody has signed in it holds a random text, which forms are bound to; a sign-in always replaces it.
"""

import re
import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from auth_service.sessions.page_tokens import parse_page_token

NAME: Final = "__Host-mis_session"
_STRANGER: Final = "mis_pa_"
_STRANGERS: Final = re.compile(rf"{_STRANGER}[A-Za-z0-9_-]{{43}}")


def held_by(request: Request) -> str | None:
    """Return what the browser's cookie holds, if we can have put it there."""
    text = request.cookies.get(NAME, "")
    return text if _STRANGERS.fullmatch(text) or parse_page_token(text) else None


def strangers_text() -> str:
    """Return what the cookie holds of somebody who has not signed in."""
    return _STRANGER + secrets.token_urlsafe(32)


def keep(response: Response, text: str) -> None:
    """Have the browser keep the cookie until it is closed."""
    response.set_cookie(NAME, text, path="/", secure=True, httponly=True, samesite="lax")


def drop(response: Response) -> None:
    """Have the browser forget the cookie."""
    response.delete_cookie(NAME, path="/", secure=True, httponly=True, samesite="lax")
