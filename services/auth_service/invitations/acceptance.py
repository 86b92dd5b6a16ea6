"""Accepting an invitation: the link becomes a user, a seat and a session in one transaction, once.

Whatever is wrong with a token is one refusal, which says nothing of what would have been right. Hashing the
password happens between two transactions, so the invitation is looked up again, and held, in the second.
"""

from datetime import UTC, datetime
from typing import NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import InvitationInvalid
from auth_service.invitations import repository
from auth_service.login.entering import SignedIn
from auth_service.login.repository import Account, as_it_stands
from auth_service.sessions.access_tokens import Holder
from auth_service.sessions.agreement import agrees
from auth_service.sessions.books import MEMBERS, lifetime_in
from auth_service.sessions.service import open_session
from auth_service.sso.enforcing import require_local_sign_in
from auth_service.throttling.service import (
    Attempt,
    count_address_failure,
    know_network,
    require_free_address,
)
from mis_accounts.emails import Email
from mis_accounts.link_tokens import LinkPurpose, LinkToken, parse_link_token
from mis_accounts.members import member_columns, renew_terms, seat_member
from mis_accounts.seats import lock_seats, take_held_seat
from mis_http.sessions import recorded_refusal
from mis_jobs.outbox import EventType, publish
from mis_models.accounts import UserRow
from mis_models.links import InvitationRow
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Role, Tenant, TenantStatus


class Acceptance:
    """Lets invited people in, for the client `caller`."""

    def __init__(self, authority: Authority, caller: Caller) -> None:
        self._authority = authority
        self._caller = caller

    async def accept(self, text: str, name: str, password: str) -> SignedIn:
        """Return the new user's first session.

        Raise InvitationInvalid for whatever is wrong with the token, PasswordPolicyUnmet for a password that
        the tenant does not take, EmailTaken where the address has become another user's, SsoRequired where
        members come through the tenant's identity provider, which honours the invitation too.
        """
        token = parse_link_token(text, LinkPurpose.INVITATION)
        tenant = None if token is None else await self._named(token)
        if token is None or tenant is None:
            await self._refuse(None)
        async with self._authority.tenant_transaction(tenant.id) as session:
            await require_free_address(session, self._caller.network)
            invitation = await repository.find(session, token)
            email_norm = None if invitation is None else invitation.email_norm
        if email_norm is None:
            await self._refuse(tenant)
        context = (email_norm, name, tenant.slug, tenant.name)
        policy = tenant.configuration["security.password_policy"]
        password_hash = await self._authority.passwords.hash_new(password, policy, context)
        return await self._enter(tenant, token, name, password_hash)

    async def _named(self, token: LinkToken) -> Tenant | None:
        """Return the tenant that the token names and all other sources agree on, if it is open."""
        await self._authority.tenancy.feed.confirm()
        if not await agrees(self._authority, self._caller, token.tenant_id):
            return None
        tenant = await self._authority.tenancy.directory.by_id(token.tenant_id)
        return tenant if tenant is not None and tenant.status is TenantStatus.ACTIVE else None

    async def _enter(self, tenant: Tenant, token: LinkToken, name: str, password_hash: str) -> SignedIn:
        now = datetime.now(UTC)
        async with self._authority.tenant_transaction(tenant.id) as session:
            await lock_seats(session)
            invitation = await repository.find(session, token, lock=True)
            tenant = await as_it_stands(session, tenant)
            if invitation is None or tenant.status is not TenantStatus.ACTIVE:
                raise InvitationInvalid
            await require_local_sign_in(session, self._authority, Role(invitation.role))
            user = await _seated(session, invitation, name, password_hash, now)
            self._write_down(session, tenant.id, user, invitation)
            await repository.remove(session, invitation)
            attempt = Attempt.of(str(tenant.id), user.email_norm, self._caller.network)
            await know_network(session, attempt)
            opened = await open_session(
                session, MEMBERS, user.id, tenant.id, lifetime_in(tenant), self._caller, now
            )
            holder, role = Holder(user.id, user.epoch, opened.id), Role(user.role)
            access = await self._authority.tokens.for_member(holder, role, tenant, restricted=False)
        account = Account(user.id, user.email, user.name, role, user.epoch, True, password_hash)
        return SignedIn(account, tenant, access, opened.refresh_token)

    def _write_down(
        self, session: TenantSession, tenant_id: UUID, user: UserRow, invitation: InvitationRow
    ) -> None:
        record(
            session,
            tenant_id,
            "invitation.accepted",
            self._caller,
            kind="change",
            actor=user.id,
            resource=f"user:{user.id}",
            changes={"invitation": {"old": str(invitation.id), "new": None}, "role": {"new": user.role}},
        )
        told = {"id": str(user.id), "role": user.role}
        if invitation.user_id is not None:
            publish(session, EventType.USER_UPDATED, told | {"changed": ["name", "status"]})
        else:
            publish(session, EventType.USER_CREATED, told)

    async def _refuse(self, tenant: Tenant | None) -> NoReturn:
        tenant_id = None if tenant is None else tenant.id

        async def trace(session: AsyncSession) -> None:
            await count_address_failure(session, self._caller.network)
            record(session, tenant_id, "invitation.refused", self._caller, outcome="refused")

        await recorded_refusal(self._authority.transaction(tenant_id), trace, InvitationInvalid())


async def _seated(
    session: TenantSession, invitation: InvitationRow, name: str, password_hash: str, now: datetime
) -> UserRow:
    """Return the user whom the invitation makes, or who was waiting for it."""
    if invitation.user_id is None:
        await take_held_seat(session)
        columns = member_columns(
            Email(invitation.email, invitation.email_norm),
            name,
            Role(invitation.role),
            now=now,
            password_hash=password_hash,
        )
        return await seat_member(session, columns | {"last_login_at": now})
    user = await repository.seat_waiting_user(
        session, invitation.user_id, name=name, password_hash=password_hash, now=now
    )
    if user is None:
        raise InvitationInvalid
    await renew_terms(session, user)
    return user
