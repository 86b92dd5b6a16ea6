"""The rules of one's own second factor: set up in two steps, and taken away by a fresh proof of who asks."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from auth_service.errors import MfaAlreadySet, MfaNotPending, MfaNotSet
from auth_service.mfa import repository
from auth_service.mfa.codes import (
    new_recovery_codes,
    new_totp_secret,
    otpauth_uri,
    recovery_digest,
)
from auth_service.mfa.proofs import Oneself, Proof
from auth_service.throttling.service import require_free
from mis_accounts.totp_secrets import TotpSecrets
from mis_tenancy.errors import TokenRevoked
from mis_tenancy.session import TenantSession


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app is told, once."""

    secret: str = field(repr=False)
    otpauth_uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a second factor is set, since when, and how many recovery codes are left.

    From `reset_at` on it is taken away at the next sign-in, because an operator was told that it is lost.
    """

    confirmed_at: datetime | None
    recovery_codes_left: int
    reset_at: datetime | None = None


class OwnFactor:
    """The second factor of the member `own`."""

    def __init__(self, own: Oneself) -> None:
        self._own = own
        self._user_id = own.principal.id

    async def standing(self) -> Standing:
        """Return what is set."""
        async with self._own.authority.tenant_transaction(self._own.tenant.id) as session:
            factor = await repository.find(session, self._user_id)
            left = await repository.recovery_codes_left(session, self._user_id)
        return (
            Standing(None, left) if factor is None else Standing(factor.confirmed_at, left, factor.reset_at)
        )

    async def enroll(self, proof: Proof) -> Enrolment:
        """Return a fresh secret, which counts once it is confirmed and replaces one that never was.

        Whoever holds a stolen access token could lock its owner out by it, so this takes a proof: raise what
        `proven` refuses, and MfaAlreadySet where an authenticator app is in use.
        """
        own, secret = self._own, new_totp_secret()
        async with own.proven(proof) as session:
            person = await repository.person(session, self._user_id)
            if person is None:
                raise TokenRevoked
            secrets = TotpSecrets(session, own.authority.tenancy.tenant_keys)
            sealed = await secrets.seal(self._user_id, secret.encode())
            if not await repository.put_pending(session, self._user_id, sealed, datetime.now(UTC)):
                raise MfaAlreadySet
            own.record(session, "mfa.totp_enrolled", self._user_id)
        return Enrolment(secret, otpauth_uri(secret, account=person.email, issuer=own.tenant.name))

    async def confirm(self, code: str) -> list[str]:
        """Ask for the second factor from now on, and return the recovery codes, which are shown once.

        Raise MfaNotPending, InvalidCredentials for a wrong code, LoginThrottled after too many.
        """
        own = self._own
        async with own.authority.tenant_transaction(own.tenant.id) as session:
            is_known = await require_free(session, own.attempt)
            pending = await repository.hold_pending(session, self._user_id)
            if pending is None:
                raise MfaNotPending
            step = await own.factor(session).step_of(pending.secret, code)
            if step is not None:
                pending.confirmed_at, pending.last_step = datetime.now(UTC), step
                own.record(session, "mfa.totp_added", self._user_id)
                await own.tell(session, self._user_id, "An authenticator app was added to your sign-in.")
                return await self._fresh_codes(session)
        await own.refuse(own.attempt, "mfa.confirmation_failed", is_known=is_known)

    async def remove(self, proof: Proof) -> None:
        """Take the second factor away; raise MfaNotSet, and what `proven` refuses."""
        async with self._own.proven(proof) as session:
            if not await repository.remove(session, self._user_id):
                raise MfaNotSet
            self._own.record(session, "mfa.totp_removed", self._user_id)
            what = "The authenticator app was removed from your sign-in."
            await self._own.tell(session, self._user_id, what)

    async def renew_codes(self, proof: Proof) -> list[str]:
        """Return fresh recovery codes in place of all others; raise MfaNotSet, and what `proven` refuses."""
        async with self._own.proven(proof) as session:
            if await repository.find(session, self._user_id) is None:
                raise MfaNotSet
            self._own.record(session, "mfa.recovery_codes_renewed", self._user_id)
            what = "Your recovery codes were replaced; the ones from before are worthless."
            await self._own.tell(session, self._user_id, what)
            return await self._fresh_codes(session)

    async def _fresh_codes(self, session: TenantSession) -> list[str]:
        codes = new_recovery_codes()
        await repository.drop_recovery_codes(session, self._user_id)
        digests = [recovery_digest(self._own.tenant.id, self._user_id, code) for code in codes]
        repository.add_recovery_codes(session, self._user_id, digests, datetime.now(UTC))
        return codes
