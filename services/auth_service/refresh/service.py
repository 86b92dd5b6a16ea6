"""A refresh token works once. Used again it is a lost answer or a theft, and ten seconds tell them apart.

Within the grace a client that never saw the answer gets another pair, as long as nobody has used the first;
that one is void then. Later, or once the successor is in use, two parties hold the family, and it ends for
both (RFC 9700 §4.14.2).
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import RefreshSuperseded
from auth_service.refresh import repository
from auth_service.sessions import repository as sessions
from auth_service.sessions.access_tokens import AccessToken, Holder
from auth_service.sessions.agreement import agrees
from auth_service.sessions.books import MEMBERS, OPERATORS, OPERATORS_LIFETIME, Book, Lifetime, lifetime_in
from auth_service.sessions.refresh_tokens import RefreshToken, new_refresh_token, parse_refresh_token
from auth_service.sessions.service import announce_end
from auth_service.sessions.standing import is_restricted_in
from mis_http.sessions import recorded_refusal
from mis_tenancy.errors import (
    TenantPendingDeletion,
    TenantSuspended,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
)
from mis_tenancy.tenant import Role, Tenant, TenantStatus

GRACE: Final = timedelta(seconds=10)
_INVALID: Final = "The refresh token is not valid here. Sign in again."
_EXPIRED: Final = "The session was idle for too long, or is too old. Sign in again."
_ENDED: Final = "The session has ended. Sign in again."


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A fresh pair; an operator's has no tenant."""

    tenant: Tenant | None
    access: AccessToken
    refresh: RefreshToken


class _Reused(Exception):
    """The token had been exchanged before; its family must end, after this transaction."""

    def __init__(self, presented: repository.Presented) -> None:
        super().__init__()
        self.presented = presented


class Refresh:
    """Exchanges refresh tokens, for the client `caller`."""

    def __init__(self, authority: Authority, caller: Caller) -> None:
        self._authority = authority
        self._caller = caller

    async def exchange(self, text: str) -> Refreshed:
        """Return a fresh pair for the refresh token `text`.

        Raise TokenInvalid, TokenExpired, TokenRevoked, RefreshSuperseded, or what keeps the member out of the
        tenant.
        """
        token = parse_refresh_token(text)
        if token is None or not await agrees(self._authority, self._caller, token.tenant_id):
            raise TokenInvalid(_INVALID)
        book, tenant, lifetime = await self._place(token)
        successor = new_refresh_token(token.tenant_id)
        try:
            async with self._authority.transaction(token.tenant_id) as session:
                row = await repository.rotate(session, book, token, successor, lifetime)
                if row is None:
                    row = await _again(session, book, token, successor, lifetime)
                if row.status != "active":
                    raise TokenRevoked(_ENDED)
                access = await self._sign(row, tenant)
        except _Reused as reuse:
            await self._end_family(book, token, reuse.presented)
        return Refreshed(tenant, access, successor)

    async def _place(self, token: RefreshToken) -> tuple[Book, Tenant | None, Lifetime]:
        if token.tenant_id is None:
            return OPERATORS, None, OPERATORS_LIFETIME
        tenant = await self._authority.tenancy.directory.by_id(token.tenant_id)
        if tenant is None or tenant.status is TenantStatus.PURGED:
            raise TokenInvalid(_INVALID)
        return MEMBERS, tenant, lifetime_in(tenant)

    async def _sign(self, row: repository.AnyRow, cached: Tenant | None) -> AccessToken:
        holder = Holder(UUID(int=row.id.int), row.epoch, UUID(int=row.session_id.int))
        if cached is None:
            return await self._authority.tokens.for_operator(holder)
        tenant, role = _as_it_stands(cached, row), Role(row.role)
        restricted = is_restricted_in(tenant, role)
        if restricted and not row.restricted:
            # A session from before the tenant began to end does not turn into a narrow one.
            raise _refusal(tenant)
        if row.restricted and not restricted:
            # A narrow session was for the ending alone, and never grows into a full one.
            raise TokenRevoked(_ENDED)
        return await self._authority.tokens.for_member(holder, role, tenant, restricted=restricted)

    async def _end_family(self, book: Book, token: RefreshToken, presented: repository.Presented) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            own = sessions.is_own(book, presented.session_id, presented.holder_id)
            ended = await sessions.end(session, book, *own, reason="refresh_reused")
            announce_end(session, token.tenant_id, ended)
            record(
                session,
                token.tenant_id,
                "session.refresh_reused",
                self._caller,
                outcome="refused",
                resource=f"session:{presented.session_id}",
            )

        await recorded_refusal(self._authority.transaction(token.tenant_id), trace, TokenRevoked(_ENDED))


async def _again(
    session: AsyncSession, book: Book, token: RefreshToken, successor: RefreshToken, lifetime: Lifetime
) -> repository.AnyRow:
    """Exchange a token that is not simply current, or raise why not."""
    presented = await repository.present(session, book, token, lifetime, GRACE)
    if presented is None:
        raise TokenInvalid(_INVALID)
    if presented.is_revoked:
        raise TokenRevoked(_ENDED)
    if presented.is_lapsed:
        raise TokenExpired(_EXPIRED)
    if presented.state == "void":
        raise RefreshSuperseded
    if presented.state != "rotated":
        raise TokenInvalid(_INVALID)
    if not presented.is_in_grace or presented.successor_state != "current":
        raise _Reused(presented)
    await repository.replace_successor(session, book, token, presented, successor)
    return await repository.standing(session, book, presented, token.tenant_id)


def _as_it_stands(cached: Tenant, row: repository.AnyRow) -> Tenant:
    return replace(
        cached,
        status=TenantStatus(row.tenant_status),
        status_reason=row.status_reason,
        status_since=row.status_since,
        purge_at=row.purge_at,
        is_purging=row.purging_since is not None,
        epoch=row.tenant_epoch,
    )


def _refusal(tenant: Tenant) -> TenantSuspended | TenantPendingDeletion:
    if tenant.status is TenantStatus.SUSPENDED:
        return TenantSuspended(reason=tenant.status_reason, since=tenant.status_since)
    return TenantPendingDeletion(purgeAt=tenant.purge_at)
