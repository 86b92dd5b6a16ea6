"""HTTP of the session routes."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import SessionNotFound
from auth_service.sessions.logout import Logout
from auth_service.sessions.schemas import ActOut, LogoutIn, MeOut, PersonOut, SessionOut, TenantOut
from auth_service.sessions.service import OwnSessions
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_http.service.authorization import OPTIONAL
from mis_tenancy.errors import AuthenticationRequired, TenantMismatch, TokenInvalid, TokenRevoked
from mis_tenancy.fastapi import Admitted, CurrentPrincipal
from mis_tenancy.tokens.claims import OPERATOR

router = APIRouter(prefix="/api/v1/auth", tags=["sessions"], route_class=DirectRoute)


async def own_sessions(
    authority: AuthorityOf, principal: CurrentPrincipal, admitted: Admitted, caller: CallerOf
) -> OwnSessions:
    """Return the caller's sessions."""
    return OwnSessions(authority, principal, admitted.tenant, caller)


Own = Annotated[OwnSessions, Depends(own_sessions)]


async def session_of_path(session_id: Annotated[str, Path(description="The session's id.")]) -> UUID:
    """Return the id in the path; what is no id names no session."""
    try:
        return UUID(session_id)
    except ValueError as error:
        raise SessionNotFound from error


@router.post(
    "/logout",
    status_code=204,
    openapi_extra={"security": OPTIONAL},
    responses=problems(AuthenticationRequired, TokenInvalid, TenantMismatch),
)
async def logout(
    request: Request, authority: AuthorityOf, caller: CallerOf, body: LogoutIn | None = None
) -> None:
    """Sign out with a bearer or a refresh token, expired or not."""
    await Logout(authority, caller).sign_out(request.scope, None if body is None else body.refresh_token)


@router.get("/me", responses=problems(TokenRevoked))
async def read_me(own: Own, principal: CurrentPrincipal, admitted: Admitted) -> MeOut:
    """Return who the caller is, where, and with which rights."""
    person, row = await own.current()
    tenant, role = admitted.tenant, OPERATOR if principal.role is None else principal.role.value
    return MeOut(
        user=PersonOut(id=person.id, email=person.email, name=person.name, role=role),  # type: ignore[arg-type]
        tenant=None if tenant is None else TenantOut.of(tenant),
        permissions=sorted(principal.scopes),
        features=[] if tenant is None else sorted(tenant.features),
        session=SessionOut.of(row, principal.session_id),
        act=None if principal.acting_for is None else ActOut(sub=principal.acting_for),
    )


@router.get("/sessions", responses=problems())
async def list_sessions(
    own: Own, page: Paged, principal: CurrentPrincipal, request: Request, response: Response
) -> list[SessionOut]:
    """List the caller's live sessions, newest first."""
    rows = await own.page(page)
    shown = cut(rows, page, [row.id for row in rows], request, response)
    return [SessionOut.of(row, principal.session_id) for row in shown]


@router.delete("/sessions", status_code=204)
async def end_other_sessions(own: Own) -> None:
    """End all of the caller's sessions but this one."""
    await own.end_others()


@router.delete("/sessions/{session_id}", status_code=204, responses=problems(SessionNotFound))
async def end_session(own: Own, session_id: Annotated[UUID, Depends(session_of_path)]) -> None:
    """End one of the caller's sessions."""
    await own.end(session_id)
