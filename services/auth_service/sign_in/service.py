"""The rules of a session that our pages keep: whose it is, and how it ends."""

from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.sessions.books import MEMBERS, lifetime_in
from auth_service.sessions.logout import end_session
from auth_service.sessions.page_tokens import PageToken
from auth_service.sign_in import repository
from auth_service.sign_in.repository import Visitor
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

    async def end(self, visitor: Visitor) -> None:
        """Sign the visitor out."""
        where = (MEMBERS, self._tenant.id, visitor.session_id, visitor.id)
        await end_session(self._authority, self._caller, *where)
