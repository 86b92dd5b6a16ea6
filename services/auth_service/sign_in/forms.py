"""Forms that only our own pages can send: each holds a token that is bound to the browser's cookie.

The token is an HMAC of the cookie under the master key (OWASP, "HMAC based token pattern"), so nothing has to
be stored for somebody who only looks at the page, and who can neither read nor set the cookie cannot make it.
"""

import base64
import hmac
from typing import Annotated, Final

from fastapi import Depends, Form, Header, Request

from auth_service.authority import Authority, AuthorityOf
from auth_service.errors import CsrfRefused
from auth_service.sign_in.cookies import held_by

_PURPOSE: Final = b"csrf\n"
_LONGEST: Final = 256


def form_token(authority: Authority, cookie: str) -> str:
    """Return what a form must hold to be believed from the browser with this cookie."""
    digest = authority.tenancy.wrapping.fingerprint(_PURPOSE + cookie.encode())
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def require_own_form(
    request: Request,
    authority: AuthorityOf,
    csrf: Annotated[str, Form(max_length=_LONGEST, description="The form's token.")] = "",
    sent: Annotated[str, Header(alias="X-CSRF-Token", max_length=_LONGEST)] = "",
) -> str:
    """Return the browser's cookie; raise CsrfRefused unless the form, or a script's call, is our page's."""
    cookie = held_by(request)
    given = (csrf or sent).encode()
    if cookie is None or not hmac.compare_digest(form_token(authority, cookie).encode(), given):
        raise CsrfRefused
    return cookie


# For routes that need no more of it than the refusal.
OWN_FORM: Final = Depends(require_own_form)
