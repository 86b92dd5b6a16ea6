"""The rule of a new address: the link that was mailed to it makes it the account's, once."""

from typing import NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.emails import repository
from auth_service.errors import LinkInvalid
from auth_service.sessions.agreement import agrees
from auth_service.throttling.service import count_address_failure, require_free_address
from mis_accounts.account_links import drop_account_links, use_account_link
from mis_accounts.emails import parse_email
from mis_accounts.link_tokens import LinkPurpose, parse_link_token
from mis_accounts.members import renew_terms
from mis_accounts.seats import lock_seats
from mis_accounts.withdrawals import drop_invitation, withdraw_invitations
from mis_http.sessions import recorded_refusal
from mis_jobs.outbox import EventType, publish
from mis_models.accounts import UserRow
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import TenantStatus


class Confirmation:
    """Confirms new addresses, for the client `caller`."""

    def __init__(self, authority: Authority, caller: Caller) -> None:
        self._authority = authority
        self._caller = caller

    async def confirm(self, text: str) -> None:
        """Make the address the account's.

        Raise LinkInvalid for whatever is wrong with the token, EmailTaken where another user got the address.
        """
        token = parse_link_token(text, LinkPurpose.EMAIL_CHANGE)
        if token is None or not await self._is_open(token.tenant_id):
            await self._refuse(None)
        async with self._authority.tenant_transaction(token.tenant_id) as session:
            await require_free_address(session, self._caller.network)
            # The counters' lock comes first everywhere, so that nobody waits for anybody in a circle.
            await lock_seats(session)
            used = await use_account_link(session, token)
            user = None
            if used is not None and used.email is not None:
                user = await repository.move(session, used.user_id, parse_email(used.email))
            if user is not None:
                await self._settle(session, token.tenant_id, user)
        if user is None:
            await self._refuse(token.tenant_id)

    async def _is_open(self, tenant_id: UUID) -> bool:
        await self._authority.tenancy.feed.confirm()
        if not await agrees(self._authority, self._caller, tenant_id):
            return False
        tenant = await self._authority.tenancy.directory.by_id(tenant_id)
        return tenant is not None and tenant.status is TenantStatus.ACTIVE

    async def _settle(self, session: TenantSession, tenant_id: UUID, user: UserRow) -> None:
        # Links that lie in the old mailbox open nothing any more.
        await drop_account_links(session, user.id)
        await drop_invitation(session, user.id)
        await withdraw_invitations(session, [user.email_norm])
        await renew_terms(session, user)
        record(
            session,
            tenant_id,
            "user.email_changed",
            self._caller,
            kind="change",
            actor=user.id,
            resource=f"user:{user.id}",
            changes={"email": {}},
        )
        told = {"id": str(user.id), "role": user.role, "changed": ["email"]}
        publish(session, EventType.USER_UPDATED, told)

    async def _refuse(self, tenant_id: UUID | None) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            await count_address_failure(session, self._caller.network)
            record(session, tenant_id, "user.email_refused", self._caller, outcome="refused")

        await recorded_refusal(self._authority.transaction(tenant_id), trace, LinkInvalid())
