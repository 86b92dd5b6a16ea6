"""The rules of one's own passkeys: listed, and removed."""

from collections.abc import Sequence
from uuid import UUID

from auth_service.errors import PasskeyNotFound
from auth_service.mfa.proofs import Oneself, Proof
from auth_service.passkeys import repository
from mis_http.pages import Page
from mis_models.factors import PasskeyRow


class OwnPasskeys:
    """The passkeys of the member `own`."""

    def __init__(self, own: Oneself) -> None:
        self._own = own

    async def page(self, page: Page) -> Sequence[PasskeyRow]:
        """Return a page of them, one more than it holds where there is more."""
        async with self._own.authority.tenant_transaction(self._own.tenant.id) as session:
            return await repository.page_of(session, self._own.principal.id, page)

    async def remove(self, passkey_id: UUID, proof: Proof) -> None:
        """Let one of them sign nobody in any more.

        A stolen access token must not be able to lock its owner out: raise what `proven` refuses, and
        PasskeyNotFound.
        """
        own = self._own
        async with own.proven(proof) as session:
            if not await repository.remove(session, own.principal.id, passkey_id):
                raise PasskeyNotFound
            gone = {"old": str(passkey_id), "new": None}
            own.record(session, "passkey.removed", own.principal.id, passkey=gone)
            await own.tell(session, own.principal.id, "A passkey was removed from your sign-in.")
