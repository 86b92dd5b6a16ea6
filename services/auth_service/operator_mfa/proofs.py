"""An operator shows again that it is them, before their second factor changes.

As for members (docs/decisions/0025-a-recent-sign-in-is-a-proof.md): a sign-in of the last ten minutes is
proof enough; after that a code, a recovery code or the password is.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record_platform
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import InvalidCredentials
from auth_service.mfa.proofs import Proof
from auth_service.operator_mfa import repository
from auth_service.operator_mfa.checking import attempt_at, takes
from auth_service.throttling.service import Attempt, count_failure, forgive, require_free
from mis_accounts.recent_sign_ins import RECENT, ProofRequired
from mis_http.sessions import recorded_refusal
from mis_models.platform import OperatorRow
from mis_tenancy.errors import TokenRevoked
from mis_tenancy.tenant import Principal
from mis_tenancy.tokens.claims import OPERATOR

_WRONG: Final = "What you sent to show that it is you is wrong, or was used already."


class OperatorOneself:
    """The operator `principal`, who changes how they sign in, for the client `caller`."""

    def __init__(self, authority: Authority, principal: Principal, caller: Caller) -> None:
        self.authority = authority
        self.wrapping = authority.tenancy.wrapping
        self.principal = principal
        self.caller = caller

    @property
    def attempt(self) -> Attempt:
        """The counters of guesses at the operator's second factor."""
        return attempt_at(self.principal.id, self.caller.network)

    @asynccontextmanager
    async def proven(self, proof: Proof) -> AsyncIterator[AsyncSession]:
        """Yield a session once the operator has shown that it is them; a code is used up with its commit.

        Raise ProofRequired where nothing was shown and the sign-in is old, InvalidCredentials where what was
        shown is wrong, LoginThrottled after too many such.
        """
        operator, attempt, is_known, is_good = await self._judge(proof)
        async with self.authority.transaction(None) as session:
            if proof.shown is not None:
                is_good = await takes(session, self.wrapping, operator, proof.shown)
            if is_good:
                if proof.is_given:
                    await forgive(session, attempt)
                yield session
                return
        await self.refuse(attempt, "operator.mfa_proof_failed", is_known=is_known)

    async def present(self, session: AsyncSession) -> OperatorRow:
        """Return the operator as they are now; raise TokenRevoked where they are gone or disabled."""
        operator = await repository.find(session, self.principal.id)
        if operator is None:
            raise TokenRevoked
        return operator

    async def refuse(self, attempt: Attempt, action: str, *, is_known: bool) -> NoReturn:
        """Count a wrong proof, leave its trace, and raise InvalidCredentials."""

        async def trace(session: AsyncSession) -> None:
            await count_failure(session, attempt, is_known=is_known)
            self.record(session, action, succeeded=False)

        await recorded_refusal(self.authority.transaction(None), trace, InvalidCredentials(_WRONG))

    def record(self, session: AsyncSession, action: str, *, succeeded: bool = True) -> None:
        """Add the audit row of what the operator did to their own sign-in."""
        record_platform(
            session,
            action,
            self.caller,
            kind="change" if succeeded else "security",
            outcome="success" if succeeded else "refused",
            actor=self.principal.id,
            resource=f"operator:{self.principal.id}",
        )

    async def _judge(self, proof: Proof) -> tuple[OperatorRow, Attempt, bool, bool]:
        """Return who it is, the counters, whether they know the network, and whether it is proven by now."""
        session_id = self.principal.session_id
        if session_id is None:
            raise TokenRevoked
        async with self.authority.transaction(None) as session:
            operator, attempt = await self.present(session), self.attempt
            if proof.password is not None:
                attempt = Attempt.of(OPERATOR, operator.email_norm, self.caller.network)
            is_known = await require_free(session, attempt)
            is_recent = await repository.has_signed_in_within(session, session_id, RECENT)
        if proof.password is not None:
            matches = await self.authority.passwords.verify(operator.password_hash, proof.password)
            return operator, attempt, is_known, matches
        if proof.shown is None and not is_recent:
            raise ProofRequired
        return operator, attempt, is_known, proof.shown is None
