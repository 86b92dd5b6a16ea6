"""HTTP of single sign-on: a browser goes out to the provider here, and comes back."""

import re
import secrets
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from auth_service.authority import AuthorityOf
from auth_service.errors import (
    LoginThrottled,
    SsoDeclined,
    SsoFailed,
    SsoNotConfigured,
    SsoRefused,
    SsoUnavailable,
)
from auth_service.sign_in.next_path import safe_path
from auth_service.sign_in.pages import PagesOf
from auth_service.sign_in.visits import BrowserOf, SessionsOf, VisitorOf
from auth_service.sso.callbacks import callback_of
from auth_service.sso.service import Returned, SingleSignOn
from mis_accounts.claims import LimitExceeded
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import TenantConflict, TenantNotFound, TenantRequired, TenantUnavailable
from mis_tenancy.fastapi import CurrentTenant, tenancy_of

router = APIRouter(
    prefix="/login/sso", tags=["pages"], default_response_class=HTMLResponse, route_class=DirectRoute
)

COOKIE: Final = "__Host-mis_sso"
_HELD: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_STRANGERS = (TenantRequired, TenantNotFound, TenantConflict, TenantUnavailable)
_LONGEST = 4_096

Sent = Annotated[str, Query(max_length=_LONGEST)]


async def single_sign_on(
    request: Request, authority: AuthorityOf, tenant: CurrentTenant, browser: BrowserOf
) -> SingleSignOn:
    """Return the single sign-on of the tenant that the request names."""
    return SingleSignOn(authority, request.app.state.providers, tenant, browser)


SsoOf = Annotated[SingleSignOn, Depends(single_sign_on)]


def held_by(request: Request) -> str | None:
    """Return what binds attempts to this browser, if we can have put it there."""
    text = request.cookies.get(COOKIE, "")
    return text if _HELD.fullmatch(text) else None


@router.get("/start", status_code=303, responses=problems(*_STRANGERS, SsoNotConfigured, SsoUnavailable))
async def start(
    request: Request,
    sso: SsoOf,
    pages: PagesOf,
    tenant: CurrentTenant,
    next_path: Annotated[str | None, Query(alias="next", description="Where to go on to.")] = None,
) -> Response:
    """Send the browser to the tenant's identity provider."""
    browser = held_by(request) or secrets.token_urlsafe(32)
    callback = callback_of(request.scope, tenant, tenancy_of(request).settings)
    answer = pages.redirect(await sso.start(browser, safe_path(next_path), callback))
    answer.set_cookie(COOKIE, browser, path="/", secure=True, httponly=True, samesite="lax")
    return answer


@router.get(
    "/callback",
    status_code=303,
    responses=problems(
        *_STRANGERS,
        SsoNotConfigured,
        SsoFailed,
        SsoDeclined,
        SsoRefused,
        SsoUnavailable,
        LimitExceeded,
        LoginThrottled,
    ),
)
async def callback(
    request: Request,
    sso: SsoOf,
    pages: PagesOf,
    sessions: SessionsOf,
    visitor: VisitorOf,
    state: Sent = "",
    code: Sent = "",
    error: Sent = "",
    iss: Sent = "",
) -> Response:
    """Let in whom the provider has signed in, and go on to where the browser was going."""
    entered = await sso.finish(held_by(request), Returned(state, code, error, iss))
    if visitor is not None:
        await sessions.end(visitor)
    answer = pages.enter(entered.token, entered.next_path)
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer
