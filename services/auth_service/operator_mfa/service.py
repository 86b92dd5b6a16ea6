"""The rules of an operator's own second factor: as a member's, but under the master key."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.errors import MfaAlreadySet, MfaNotPending, MfaNotSet
from auth_service.mfa.codes import new_recovery_codes, new_totp_secret, otpauth_uri
from auth_service.mfa.proofs import Proof
from auth_service.mfa.service import Enrolment, Standing
from auth_service.operator_mfa import repository
from auth_service.operator_mfa.checking import digest_of, step_shown
from auth_service.operator_mfa.proofs import OperatorOneself
from auth_service.operator_mfa.secrets import purpose_of
from auth_service.throttling.service import require_free

_ISSUER = "mis platform"


class OperatorFactor:
    """The second factor of the operator `own`."""

    def __init__(self, own: OperatorOneself) -> None:
        self._own = own
        self._id = own.principal.id

    async def standing(self) -> Standing:
        """Return what is set."""
        async with self._own.authority.transaction(None) as session:
            operator = await self._own.present(session)
            return Standing(operator.totp_confirmed_at, len(operator.recovery_codes or ()))

    async def enroll(self, proof: Proof) -> Enrolment:
        """Return a fresh secret, which counts once it is confirmed and replaces one that never was.

        Raise what `proven` refuses, and MfaAlreadySet where an authenticator app is in use.
        """
        own, secret = self._own, new_totp_secret()
        async with own.proven(proof) as session:
            operator = await own.present(session)
            sealed = own.wrapping.wrap(secret.encode(), purpose_of(self._id))
            if not await repository.put_pending(session, self._id, sealed):
                raise MfaAlreadySet
            own.record(session, "operator.totp_enrolled")
        return Enrolment(secret, otpauth_uri(secret, account=operator.email, issuer=_ISSUER))

    async def confirm(self, code: str) -> list[str]:
        """Ask for the second factor from now on, and return the recovery codes, which are shown once.

        Raise MfaNotPending, InvalidCredentials for a wrong code, LoginThrottled after too many.
        """
        own = self._own
        async with own.authority.transaction(None) as session:
            is_known = await require_free(session, own.attempt)
            operator = await own.present(session)
            secret = operator.totp_secret
            if secret is None or operator.totp_confirmed_at is not None:
                raise MfaNotPending
            step = step_shown(own.wrapping, operator, code)
            if step is not None:
                if not await repository.confirm(session, self._id, secret, step, datetime.now(UTC)):
                    raise MfaNotPending
                own.record(session, "operator.totp_added")
                return await self._fresh_codes(session)
        await own.refuse(own.attempt, "operator.mfa_confirmation_failed", is_known=is_known)

    async def remove(self, proof: Proof) -> None:
        """Take the second factor away; raise MfaNotSet, and what `proven` refuses."""
        async with self._own.proven(proof) as session:
            if not await repository.remove(session, self._id):
                raise MfaNotSet
            self._own.record(session, "operator.totp_removed")

    async def renew_codes(self, proof: Proof) -> list[str]:
        """Return fresh recovery codes in place of all others; raise MfaNotSet, and what `proven` refuses."""
        async with self._own.proven(proof) as session:
            codes = await self._fresh_codes(session)
            self._own.record(session, "operator.recovery_codes_renewed")
            return codes

    async def _fresh_codes(self, session: AsyncSession) -> list[str]:
        codes = new_recovery_codes()
        digests = [digest_of(self._id, code) for code in codes]
        if not await repository.set_recovery_codes(session, self._id, digests):
            raise MfaNotSet
        return codes
