"""HTTP of the invitation routes."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response

from auth_service.authority import AuthorityOf
from auth_service.caller import CallerOf
from auth_service.errors import (
    InvitationInvalid,
    InvitationNotFound,
    InvitationPending,
    LoginThrottled,
    SsoRequired,
)
from auth_service.invitations.acceptance import Acceptance
from auth_service.invitations.schemas import AcceptanceIn, InvitationIn, InvitationListed, InvitationOut
from auth_service.invitations.service import Invitations
from auth_service.login.schemas import LoginOut
from mis_accounts.claims import LimitExceeded
from mis_accounts.members import EmailTaken
from mis_accounts.password_rules import PasswordPolicyUnmet
from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_mail.queue import MailQueue
from mis_tenancy.access import Permission
from mis_tenancy.errors import PermissionDenied
from mis_tenancy.fastapi import Admitted, CurrentPrincipal, CurrentTenant, Session, requires, tenancy_of

router = APIRouter(prefix="/api/v1/auth/invitations", tags=["invitations"], route_class=IdempotentRoute)


async def invitations_of_tenant(
    session: Session, tenant: CurrentTenant, principal: CurrentPrincipal, admitted: Admitted
) -> Invitations:
    """Return the invitations of the request's tenant."""
    return Invitations(session, tenant, principal, admitted)


async def invitation_of_path(
    invitation_id: Annotated[str, Path(description="The invitation's id.")],
) -> UUID:
    """Return the id in the path; what is no id names no invitation."""
    try:
        return UUID(invitation_id)
    except ValueError as error:
        raise InvitationNotFound from error


TenantInvitations = Annotated[Invitations, Depends(invitations_of_tenant)]
InvitationId = Annotated[UUID, Depends(invitation_of_path)]
CAN_INVITE = [requires(Permission.INVITATIONS_WRITE)]


@router.post(
    "",
    status_code=201,
    dependencies=CAN_INVITE,
    responses=problems(PermissionDenied, EmailTaken, InvitationPending, LimitExceeded),
)
async def invite(body: InvitationIn, request: Request, invitations: TenantInvitations) -> InvitationOut:
    """Invite an address to join with a role of at most one's own; it gets the link by mail."""
    tenancy = tenancy_of(request)
    mails = MailQueue(tenancy.wrapping)
    row, link = await invitations.invite(body.email, body.role, mails, tenancy.settings.issuer)
    return InvitationOut.of(row, link)


@router.get("", dependencies=CAN_INVITE, responses=problems(PermissionDenied))
async def list_invitations(
    invitations: TenantInvitations, page: Paged, request: Request, response: Response
) -> list[InvitationListed]:
    """List the open invitations, newest first."""
    rows = await invitations.page(page)
    return [
        InvitationListed.listed(row) for row in cut(rows, page, [row.id for row in rows], request, response)
    ]


@router.delete(
    "/{invitation_id}",
    status_code=204,
    dependencies=CAN_INVITE,
    responses=problems(PermissionDenied, InvitationNotFound),
)
async def revoke_invitation(invitation_id: InvitationId, invitations: TenantInvitations) -> None:
    """Revoke an open invitation; its link is worth nothing from then on, and its seat is free."""
    await invitations.revoke(invitation_id)


@router.post(
    "/accept",
    responses=problems(InvitationInvalid, LoginThrottled, EmailTaken, PasswordPolicyUnmet, SsoRequired),
)
async def accept_invitation(body: AcceptanceIn, authority: AuthorityOf, caller: CallerOf) -> LoginOut:
    """Accept an invitation with its token: choose name and password, and be signed in."""
    return LoginOut.of(await Acceptance(authority, caller).accept(body.token, body.name, body.password))
