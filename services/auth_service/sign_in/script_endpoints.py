"""HTTP for scripts of the tenant's own front end, which turn the page's session into access tokens.

The API reads no cookie. So a front end of the same origin asks here for a token, and sends it as a bearer; it
keeps it in memory, and nothing that lasts is ever in a script's reach.
"""

from fastapi import APIRouter

from auth_service.authority import AuthorityOf
from auth_service.errors import CsrfRefused
from auth_service.sessions.schemas import TenantOut
from auth_service.sign_in.forms import OWN_FORM, form_token
from auth_service.sign_in.schemas import PageSessionOut, PageTokenOut, person_of
from auth_service.sign_in.visits import CookieOf, PresentVisitor, SessionsOf
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.errors import (
    AuthenticationRequired,
    TenantConflict,
    TenantNotFound,
    TenantRequired,
    TenantUnavailable,
)
from mis_tenancy.fastapi import CurrentTenant

router = APIRouter(prefix="/login", tags=["pages"], route_class=DirectRoute)

_REFUSALS = (AuthenticationRequired, TenantRequired, TenantNotFound, TenantConflict, TenantUnavailable)


@router.get("/session", responses=problems(*_REFUSALS))
async def read_session(
    visitor: PresentVisitor, tenant: CurrentTenant, authority: AuthorityOf, cookie: CookieOf
) -> PageSessionOut:
    """Tell a script of this origin who has signed in, and what it has to send along."""
    return PageSessionOut(
        user=person_of(visitor),
        tenant=TenantOut.of(tenant),
        csrf_token=form_token(authority, cookie or ""),
    )


@router.post("/token", dependencies=[OWN_FORM], responses=problems(*_REFUSALS, CsrfRefused))
async def make_token(visitor: PresentVisitor, tenant: CurrentTenant, sessions: SessionsOf) -> PageTokenOut:
    """Give a script of this origin an access token, which ends with the page's session."""
    access = await sessions.access(visitor)
    return PageTokenOut(
        token=access.text,
        expires_in=access.expires_in,
        user=person_of(visitor),
        tenant=TenantOut.of(tenant),
    )
