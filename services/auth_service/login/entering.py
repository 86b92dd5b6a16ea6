"""Letting somebody in who has proven everything that was asked of them, whatever that was."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import InvalidCredentials
from auth_service.login import repository
from auth_service.login.repository import Account
from auth_service.sessions.access_tokens import AccessToken, Holder
from auth_service.sessions.books import MEMBERS, lifetime_in
from auth_service.sessions.refresh_tokens import RefreshToken
from auth_service.sessions.service import open_session
from auth_service.sessions.standing import is_restricted_in
from mis_tenancy.tenant import Tenant, TenantStatus


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a sign-in brings."""

    account: Account
    tenant: Tenant
    access: AccessToken
    refresh: RefreshToken


async def let_in(
    session: AsyncSession,
    authority: Authority,
    caller: Caller,
    tenant: Tenant,
    account: Account,
    new_hash: str | None = None,
) -> SignedIn:
    """Open a session of the account and return its tokens; `new_hash` renews the password's hash.

    Raise InvalidCredentials where the account was disabled or got another password since it was read, and
    what keeps a member out of a tenant that is suspended or ending.
    """
    tenant = await repository.as_it_stands(session, tenant)
    present = await repository.mark_signed_in(session, account, new_hash)
    if present is None or tenant.status is TenantStatus.PURGED:
        raise InvalidCredentials
    restricted = is_restricted_in(tenant, present.role)
    now, lifetime = datetime.now(UTC), lifetime_in(tenant)
    opened = await open_session(
        session, MEMBERS, present.id, tenant.id, lifetime, caller, now, restricted=restricted
    )
    resource = f"user:{present.id}"
    record(session, tenant.id, "login.succeeded", caller, actor=present.id, resource=resource)
    holder = Holder(present.id, present.epoch, opened.id)
    access = await authority.tokens.for_member(holder, present.role, tenant, restricted=restricted)
    return SignedIn(present, tenant, access, opened.refresh_token)
