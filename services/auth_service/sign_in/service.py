"""The rules of a session that our pages keep: whose it is, and how it ends."""

from collections.abc import Sequence

from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.login.repository import as_it_stands
from auth_service.passkeys.repository import of_user
from auth_service.sessions.access_tokens import AccessToken, Holder
from auth_service.sessions.books import MEMBERS, lifetime_in
from auth_service.sessions.logout import end_session
from auth_service.sessions.page_tokens import PageToken
from auth_service.sessions.standing import is_restricted_in
from auth_service.sign_in import repository
from auth_service.sign_in.visitor import Visitor
from mis_models.factors import PasskeyRow
from mis_tenancy.errors import AuthenticationRequired
from mis_tenancy.tenant import Tenant


class PageSessions:
    """The page sessions of `tenant`, for the client `caller`."""

    def __init__(self, authority: Authority, tenant: Tenant, caller: Caller) -> None:
        self._authority = authority
        self._tenant = tenant
        self._caller = caller

    async def visitor(self, token: PageToken | None) -> Visitor | None:
        """Return who has signed in with the token, or None.

        A host can serve several tenants' pages (where a query names them), so a token counts only in its own.
        A session from when the tenant was ending does not grow into a full one.
        """
        if token is None or token.tenant_id != self._tenant.id:
            return None
        async with self._authority.transaction(self._tenant.id) as session:
            found = await repository.visit(session, token, lifetime_in(self._tenant))
        return None if found is None or found.restricted else found

    async def access(self, visitor: Visitor) -> AccessToken:
        """Return an access token of the visitor's session, which ends with it.

        Raise what keeps a member out of a tenant that has just been suspended, or is ending.
        """
        async with self._authority.transaction(self._tenant.id) as session:
            tenant = await as_it_stands(session, self._tenant)
        if is_restricted_in(tenant, visitor.role):
            # Owners of an ending tenant sign in anew, for a token that says so.
            raise AuthenticationRequired
        holder = Holder(visitor.id, visitor.epoch, visitor.session_id)
        return await self._authority.tokens.for_member(holder, visitor.role, tenant, restricted=False)

    async def passkeys(self, visitor: Visitor) -> Sequence[PasskeyRow]:
        """Return the visitor's passkeys, newest first."""
        async with self._authority.tenant_transaction(self._tenant.id) as session:
            return (await of_user(session, visitor.id))[::-1]

    async def end(self, visitor: Visitor) -> None:
        """Sign the visitor out."""
        where = (MEMBERS, self._tenant.id, visitor.session_id, visitor.id)
        await end_session(self._authority, self._caller, *where)
