"""Taking the second factor of somebody away who has lost it, by who may manage them."""

from uuid import UUID

from auth_service.errors import MfaNotSet, UserNotFound
from auth_service.mfa import repository
from auth_service.mfa.proofs import Oneself, Proof
from mis_tenancy.access import Permission, require_permission, require_rank
from mis_tenancy.tenant import Role


class OthersFactor:
    """The second factors of other members, for the member `own`, who needs `users:write`."""

    def __init__(self, own: Oneself) -> None:
        require_permission(own.principal, Permission.USERS_WRITE)
        self._own = own

    async def reset(self, user_id: UUID, proof: Proof) -> None:
        """Let the user sign in with the password alone.

        Raise UserNotFound, PermissionDenied for somebody above the caller's role, MfaNotSet, and what
        `proven` refuses.
        """
        async with self._own.proven(proof) as session:
            person = await repository.person(session, user_id)
            if person is None:
                raise UserNotFound
            require_rank(self._own.principal, Role(person.role))
            if not await repository.remove(session, user_id):
                raise MfaNotSet
            self._own.record(session, "mfa.totp_reset", user_id)
            what = "An administrator removed the authenticator app from your sign-in."
            await self._own.tell(session, user_id, what)
