"""Showing again that it is oneself, before a way to sign in is added or taken away.

Whoever holds a stolen access token shall not keep the account by it. A sign-in of the last ten minutes is
proof enough; after that a code, a recovery code or the password is.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import InvalidCredentials
from auth_service.membership import tenant_of_member
from auth_service.mfa import repository
from auth_service.mfa.checking import RESET_CALLED_OFF, SecondFactor, Shown, attempt_at
from auth_service.mfa_resets.repository import call_off
from auth_service.notices.telling import tell
from auth_service.throttling.service import Attempt, count_failure, forgive, require_free
from mis_accounts.emails import norm_of
from mis_accounts.recent_sign_ins import ProofRequired, is_recent
from mis_http.sessions import recorded_refusal
from mis_tenancy.errors import TokenRevoked
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Principal, Tenant

_WRONG: Final = "What you sent to show that it is you is wrong, or was used already."


@dataclass(frozen=True, slots=True)
class Proof:
    """What is shown: a second factor or the password; nothing where the sign-in is recent."""

    shown: Shown | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def is_given(self) -> bool:
        """Whether anything is shown."""
        return self.shown is not None or self.password is not None


class Oneself:
    """The member `principal`, who changes how they sign in; raise PermissionDenied for anybody else."""

    def __init__(
        self, authority: Authority, principal: Principal, tenant: Tenant | None, caller: Caller
    ) -> None:
        self.tenant = tenant_of_member(principal, tenant)
        self.authority = authority
        self.principal = principal
        self.caller = caller

    @property
    def attempt(self) -> Attempt:
        """The counters of guesses at the caller's second factor."""
        return attempt_at(self.tenant.id, self.principal.id, self.caller.network)

    def factor(self, session: TenantSession) -> SecondFactor:
        """Return the caller's second factor."""
        keys = self.authority.tenancy.tenant_keys
        return SecondFactor(session, keys, self.tenant.id, self.principal.id)

    @asynccontextmanager
    async def proven(self, proof: Proof) -> AsyncIterator[TenantSession]:
        """Yield a session once the caller has shown that it is them; a code is used up with its commit.

        Raise ProofRequired where nothing was shown and the sign-in is old, InvalidCredentials where what was
        shown is wrong, LoginThrottled after too many such.
        """
        attempt, is_known, is_good = await self._judge(proof)
        async with self.authority.tenant_transaction(self.tenant.id) as session:
            if proof.shown is not None:
                is_good = await self.factor(session).takes(proof.shown)
            if is_good and proof.shown is not None and await call_off(session, self.principal.id):
                self.record(session, RESET_CALLED_OFF, self.principal.id)
            if is_good:
                if proof.is_given:
                    await forgive(session, attempt)
                yield session
                return
        await self.refuse(attempt, "mfa.proof_failed", is_known=is_known)

    async def refuse(self, attempt: Attempt, action: str, *, is_known: bool) -> NoReturn:
        """Count a wrong proof, leave its trace, and raise InvalidCredentials."""

        async def trace(session: AsyncSession) -> None:
            await count_failure(session, attempt, is_known=is_known)
            self.record(session, action, self.principal.id, succeeded=False)

        opened = self.authority.transaction(self.tenant.id)
        await recorded_refusal(opened, trace, InvalidCredentials(_WRONG))

    def record(
        self, session: AsyncSession, action: str, user_id: UUID, *, succeeded: bool = True, **changes: object
    ) -> None:
        """Add the audit row of what the caller did to the sign-in of a user."""
        record(
            session,
            self.tenant.id,
            action,
            self.caller,
            kind="change" if succeeded else "security",
            outcome="success" if succeeded else "refused",
            actor=self.principal.id,
            resource=f"user:{user_id}",
            changes=changes or None,
        )

    async def tell(self, session: TenantSession, user_id: UUID, what: str) -> None:
        """Mail a user one sentence about what has changed."""
        person = await repository.person(session, user_id)
        if person is not None:
            who = {"email": person.email, "name": person.name}
            await tell(session, self.authority.tenancy, self.tenant, **who, what=what)

    async def _judge(self, proof: Proof) -> tuple[Attempt, bool, bool]:
        """Return the counters of the proof, whether they know the network, and whether it is good by now."""
        async with self.authority.tenant_transaction(self.tenant.id) as session:
            person = await repository.person(session, self.principal.id)
            session_id = self.principal.session_id
            if person is None or session_id is None:
                raise TokenRevoked
            attempt = self.attempt
            if proof.password is not None:
                attempt = Attempt.of(str(self.tenant.id), norm_of(person.email), self.caller.network)
            is_known = await require_free(session, attempt)
            recent = await is_recent(session, session_id)
        if proof.password is not None:
            verified = await self.authority.passwords.verify(person.password_hash, proof.password)
            return attempt, is_known, verified
        if proof.shown is None and not recent:
            raise ProofRequired
        return attempt, is_known, proof.shown is None
