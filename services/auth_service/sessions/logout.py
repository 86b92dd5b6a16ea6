"""Signing out with whatever the client still has: a bearer or a refresh token, expired or not."""

from uuid import UUID

from starlette.types import Scope

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.sessions import repository
from auth_service.sessions.agreement import agrees
from auth_service.sessions.books import MEMBERS, OPERATORS, Book, place_of
from auth_service.sessions.refresh_tokens import parse_refresh_token
from auth_service.sessions.service import announce_end
from mis_tenancy.errors import (
    AuthenticationRequired,
    TenantMismatch,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
)
from mis_tenancy.tenant import PrincipalKind
from mis_tenancy.tokens.verification import bearer_of


class Logout:
    """Ends the session that a request's tokens name."""

    def __init__(self, authority: Authority, caller: Caller) -> None:
        self._authority = authority
        self._caller = caller

    async def sign_out(self, scope: Scope, refresh_token: str | None) -> None:
        """End the sessions of the bearer and of `refresh_token`; one that has ended already stays so.

        Raise AuthenticationRequired where neither was sent, TokenInvalid where none of those sent is good,
        and TenantMismatch where the bearer's tenant is not the one the request names.
        """
        outcomes = [await self._end_by_bearer(scope), await self._end_by_refresh_token(refresh_token)]
        if True in outcomes:
            return
        raise AuthenticationRequired if outcomes == [None, None] else TokenInvalid

    async def _end_by_bearer(self, scope: Scope) -> bool | None:
        """Return whether there was a good bearer; None where there was none at all."""
        try:
            bearer = bearer_of(scope)
            if bearer is None:
                return None
            principal = await self._authority.tenancy.verifier.principal_of(bearer, allow_ended=True)
        except (TokenInvalid, TokenExpired, TokenRevoked):
            # The latter two are an API key's, which signs nobody out.
            return False
        if not await agrees(self._authority, self._caller, principal.tenant_id):
            raise TenantMismatch
        if principal.kind is PrincipalKind.API_KEY:
            # A program has no session to end; its key is revoked instead.
            return False
        book, tenant_id = place_of(principal)
        if principal.session_id is not None:
            await end_session(
                self._authority, self._caller, book, tenant_id, principal.session_id, principal.id
            )
        return True

    async def _end_by_refresh_token(self, text: str | None) -> bool | None:
        if text is None:
            return None
        token = parse_refresh_token(text)
        if token is None or not await agrees(self._authority, self._caller, token.tenant_id):
            return False
        book = OPERATORS if token.tenant_id is None else MEMBERS
        async with self._authority.transaction(token.tenant_id) as session:
            found = await repository.holder_of_token(session, book, token)
        if found is None:
            return False
        await end_session(self._authority, self._caller, book, token.tenant_id, *found)
        return True


async def end_session(
    authority: Authority,
    caller: Caller,
    book: Book,
    tenant_id: UUID | None,
    session_id: UUID,
    holder_id: UUID,
) -> None:
    """End the holder's session as they asked; one that has ended already stays so."""
    async with authority.transaction(tenant_id) as session:
        own = repository.is_own(book, session_id, holder_id)
        ended = await repository.end(session, book, *own, reason="logout")
        announce_end(session, tenant_id, ended)
        if ended:
            record(
                session,
                tenant_id,
                "session.logout",
                caller,
                kind="change",
                actor=holder_id,
                resource=f"session:{session_id}",
            )
