"""The rules of inviting: nobody who may do more than oneself, once for each address, a seat each."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from auth_service.errors import InvitationNotFound, InvitationPending
from auth_service.invitations import repository
from auth_service.invitations.letters import Letters
from mis_accounts.emails import parse_email
from mis_accounts.invitations import accept_url, new_invitation
from mis_accounts.members import EmailTaken
from mis_accounts.seats import hold_seat, lock_seats, release_held_seats
from mis_http.pages import Page
from mis_mail.queue import MailQueue
from mis_models.links import InvitationRow
from mis_tenancy.access import require_grant, require_rank
from mis_tenancy.request_changes import record
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Admission, Principal, Role, Tenant


class Invitations:
    """The invitations of one tenant, as the caller `principal` may make and revoke them."""

    def __init__(
        self, session: TenantSession, tenant: Tenant, principal: Principal, admitted: Admission
    ) -> None:
        self._session = session
        self._tenant = tenant
        self._principal = principal
        self._admitted = admitted

    async def invite(
        self, email: str, role: Role, mails: MailQueue, public_url: str
    ) -> tuple[InvitationRow, str]:
        """Invite the address, mail it the link, and return the invitation with the link.

        Raise PermissionDenied for a role that may do what the caller may not, EmailTaken, InvitationPending
        or LimitExceeded.
        """
        # The link is in the answer, so whoever invites can be whom they invite.
        require_grant(self._principal, role)
        address = parse_email(email)
        # The counters' lock comes first everywhere, so that nobody waits for anybody in a circle.
        await lock_seats(self._session)
        await repository.let_lapsed_go(self._session)
        await hold_seat(self._session)
        if await repository.is_member(self._session, address.norm):
            raise EmailTaken
        row, token = new_invitation(
            self._tenant.id, address, role, invited_by=self._principal.id, now=datetime.now(UTC)
        )
        if not await repository.add(self._session, row):
            raise InvitationPending
        letter = Letters(public_url).invitation(row, token, self._tenant)
        await mails.enqueue(self._session, letter, tenant_id=self._tenant.id)
        changes = {"email": {"old": None, "new": row.email}, "role": {"old": None, "new": row.role}}
        self._record("invitation.created", row, changes)
        return row, accept_url(public_url, token)

    async def page(self, page: Page) -> Sequence[InvitationRow]:
        """Return a page of the open ones, one more than it holds where there is more."""
        return await repository.page_of(self._session, page)

    async def revoke(self, invitation_id: UUID) -> None:
        """End an invitation of at most the caller's own role, and give its seat back."""
        await lock_seats(self._session)
        row = await repository.lock(self._session, invitation_id)
        if row is None:
            raise InvitationNotFound
        require_rank(self._principal, Role(row.role))
        if row.user_id is None:
            await release_held_seats(self._session, 1)
        await repository.remove(self._session, row)
        self._record("invitation.revoked", row)

    def _record(self, action: str, row: InvitationRow, changes: Mapping[str, Any] | None = None) -> None:
        record(self._session, self._admitted, action, resource=f"invitation:{row.id}", changes=changes)
