"""Whose browser asks: the caller as our pages know one, and the visitor that its cookie stands for."""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request

from auth_service.authority import AuthorityOf
from auth_service.caller import Caller, CallerOf
from auth_service.sessions.page_tokens import parse_page_token
from auth_service.sign_in.cookies import held_by
from auth_service.sign_in.service import PageSessions
from auth_service.sign_in.visitor import Visitor
from mis_tenancy.errors import AuthenticationRequired
from mis_tenancy.fastapi import CurrentTenant


async def browser(caller: CallerOf) -> Caller:
    """Return the caller as one whose sessions are kept in a cookie."""
    return replace(caller, keeps_cookie=True)


BrowserOf = Annotated[Caller, Depends(browser)]


async def page_sessions(authority: AuthorityOf, tenant: CurrentTenant, caller: BrowserOf) -> PageSessions:
    """Return the page sessions of the tenant that the request names."""
    return PageSessions(authority, tenant, caller)


SessionsOf = Annotated[PageSessions, Depends(page_sessions)]


async def visitor(request: Request, sessions: SessionsOf) -> Visitor | None:
    """Return who has signed in with the request's cookie, or None."""
    return await sessions.visitor(parse_page_token(held_by(request) or ""))


VisitorOf = Annotated[Visitor | None, Depends(visitor)]


async def present_visitor(visitor: VisitorOf) -> Visitor:
    """Return who has signed in; raise AuthenticationRequired where nobody has."""
    if visitor is None:
        raise AuthenticationRequired
    return visitor


PresentVisitor = Annotated[Visitor, Depends(present_visitor)]


async def live_cookie(request: Request, visitor: VisitorOf) -> str | None:
    """Return what the cookie holds, unless it is of a session that has ended."""
    held = held_by(request)
    return None if visitor is None and parse_page_token(held or "") else held


CookieOf = Annotated[str | None, Depends(live_cookie)]
