"""HTTP of the sign-in page."""

from typing import Annotated

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, Response

from auth_service.authority import AuthorityOf
from auth_service.errors import (
    CsrfRefused,
    InvalidCredentials,
    LoginThrottled,
    MfaRequired,
    SsoRequired,
)
from auth_service.login.service import Login
from auth_service.passwords.forgetting import Forgetting
from auth_service.sign_in.forms import OWN_FORM
from auth_service.sign_in.pages import PagesOf
from auth_service.sign_in.visits import BrowserOf, SessionsOf, VisitorOf
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import TenantConflict, TenantNotFound, TenantRequired, TenantUnavailable

router = APIRouter(
    prefix="/login", tags=["pages"], default_response_class=HTMLResponse, route_class=DirectRoute
)

_STRANGERS = (TenantRequired, TenantNotFound, TenantConflict, TenantUnavailable)
_LONGEST_EMAIL = 254

# Whatever was typed is looked up: what no account can have is answered like an address that none has.
EmailTyped = Annotated[str, Form()]
PasswordTyped = Annotated[str, Form()]
NextPath = Annotated[str | None, Query(alias="next", description="Where to go on to, a path of this origin.")]
NextTyped = Annotated[str | None, Form(alias="next")]


def typed(email: str) -> str:
    """Return an address as it can be looked up."""
    return email.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:_LONGEST_EMAIL]


@router.get("", responses=problems(*_STRANGERS))
async def sign_in_page(
    pages: PagesOf,
    sessions: SessionsOf,
    visitor: VisitorOf,
    next_path: NextPath = None,
    notice: Annotated[str | None, Query(description="What has just happened.")] = None,
) -> Response:
    """Show the form to sign in with, or who has signed in."""
    if visitor is None:
        return pages.form(next_path, notice=notice)
    return pages.signed_in(visitor, next_path, await sessions.passkeys(visitor))


@router.post(
    "",
    status_code=303,
    dependencies=[OWN_FORM],
    responses=problems(*_STRANGERS, CsrfRefused, InvalidCredentials, LoginThrottled, SsoRequired),
)
async def sign_in(
    pages: PagesOf,
    sessions: SessionsOf,
    visitor: VisitorOf,
    authority: AuthorityOf,
    browser: BrowserOf,
    email: EmailTyped = "",
    password: PasswordTyped = "",
    next_path: NextTyped = None,
) -> Response:
    """Sign in with what was typed, and go on; or ask for the second factor; or show again, with why not."""
    email = typed(email)
    try:
        done = await Login(authority, browser).sign_in(email, password, None)
    except MfaRequired as asked:
        return pages.second_step(asked.token, next_path)
    except (InvalidCredentials, LoginThrottled, SsoRequired) as refusal:
        return pages.form(next_path, email=email, refusal=refusal)
    if visitor is not None:
        await sessions.end(visitor)
    return pages.enter(done.refresh, next_path)


@router.post(
    "/sign-out", status_code=303, dependencies=[OWN_FORM], responses=problems(*_STRANGERS, CsrfRefused)
)
async def sign_out(pages: PagesOf, sessions: SessionsOf, visitor: VisitorOf) -> Response:
    """End the session of the cookie, and go back to the form."""
    if visitor is not None:
        await sessions.end(visitor)
    return pages.leave()


@router.get("/forgot", responses=problems(*_STRANGERS))
async def forgot_page(pages: PagesOf) -> HTMLResponse:
    """Show the form by which a new password is asked for."""
    return pages.show("sign_in/templates/forgot.html", asked=False)


@router.post(
    "/forgot", status_code=202, dependencies=[OWN_FORM], responses=problems(*_STRANGERS, CsrfRefused)
)
async def forgot(
    pages: PagesOf, authority: AuthorityOf, browser: BrowserOf, email: EmailTyped = ""
) -> HTMLResponse:
    """Mail a link for a new password, if the address is a user's; the page is the same if it is not."""
    await Forgetting(authority, browser).ask(typed(email), None)
    return pages.show("sign_in/templates/forgot.html", status=202, asked=True)
