"""The second step of a sign-in: asked for once the password is right, and answered once.

Between the two the client holds an opaque token of one tenant and user. It runs out after five minutes, and
dies with the password it came from. Wrong codes are counted against the account under counters of their own.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.challenges import repository as challenges
from auth_service.challenges.tokens import ChallengePurpose, ChallengeToken, parse_challenge_token
from auth_service.errors import InvalidCredentials, MfaRequired
from auth_service.login import repository as accounts
from auth_service.login.entering import SignedIn, let_in
from auth_service.login.repository import Account
from auth_service.mfa.checking import RESET_CALLED_OFF, SecondFactor, Shown, attempt_at
from auth_service.mfa_resets.repository import call_off, take_effect
from auth_service.naming import named_by_token
from auth_service.notices.telling import tell
from auth_service.sessions.standing import is_restricted_in
from auth_service.throttling.service import (
    Attempt,
    count_address_failure,
    count_failure,
    forgive,
    know_network,
    require_free,
    require_free_address,
)
from mis_accounts.departures import end_sessions
from mis_accounts.emails import norm_of
from mis_http.sessions import recorded_refusal
from mis_tenancy.errors import ProblemError, TenantPendingDeletion, TenantSuspended, TokenInvalid
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Tenant

LIFETIME: Final = timedelta(minutes=5)
_WRONG: Final = "The code is wrong, or was used already."
_INVALID: Final = "mfaToken is not valid, or not any more. Sign in again."


class SecondStep:
    """Asks for second factors and takes them, for the client `caller`."""

    def __init__(self, authority: Authority, caller: Caller) -> None:
        self._authority = authority
        self._caller = caller

    async def ask(
        self, session: TenantSession, tenant: Tenant, account: Account, attempt: Attempt
    ) -> MfaRequired | None:
        """Return the refusal that asks for the account's second factor, or None where it has none.

        It is returned, because raising would take the token back. Raise InvalidCredentials where the
        password has changed since it was verified, LoginThrottled where guesses closed its counter, and what
        keeps a member out of a tenant that is suspended or ending.
        """
        if await take_effect(session, account.id):
            await self._let_go(session, tenant, account)
        methods = await self._factor(session, tenant.id, account.id).methods()
        if not methods:
            return None
        await require_free(session, attempt)
        is_restricted_in(await accounts.as_it_stands(session, tenant), account.role)
        if not await accounts.hold_password(session, account):
            raise InvalidCredentials
        token = await challenges.add(
            session,
            ChallengePurpose.SECOND_FACTOR,
            user_id=account.id,
            now=datetime.now(UTC),
            lifetime=LIFETIME,
        )
        self._record(session, tenant.id, "login.mfa_required", account.id)
        return MfaRequired(token.text, methods)

    async def _let_go(self, session: TenantSession, tenant: Tenant, account: Account) -> None:
        """End what the account had open before its second factor was taken away, and say so."""
        await end_sessions(session, account.id, reason="mfa_reset", now=datetime.now(UTC))
        resource = f"user:{account.id}"
        record(session, tenant.id, "mfa.totp_reset", self._caller, kind="change", resource=resource)
        who = {"email": account.email, "name": account.name}
        what = "The authenticator app that was reported as lost is removed from your sign-in."
        await tell(session, self._authority.tenancy, tenant, **who, what=what)

    async def finish(self, text: str, shown: Shown) -> SignedIn:
        """Return the session of whoever the token was given to.

        Raise TokenInvalid for whatever is wrong with the token, InvalidCredentials for a code that is wrong
        or used, which leaves the token good, and LoginThrottled after too many of these.
        """
        token = parse_challenge_token(text, ChallengePurpose.SECOND_FACTOR)
        tenant = None if token is None else await named_by_token(self._authority, self._caller, token)
        if token is None or tenant is None:
            await self._refuse_token(None)
        account, is_known = await self._addressed(tenant, token)
        try:
            async with self._authority.tenant_transaction(tenant.id) as session:
                signed_in = await self._answer(session, tenant, token, account, shown)
        except (TenantSuspended, TenantPendingDeletion) as refusal:
            await self._turn_away(tenant.id, account.id, refusal)
        if signed_in is None:
            await self._refuse_code(tenant.id, account.id, is_known=is_known)
        return signed_in

    async def _addressed(self, tenant: Tenant, token: ChallengeToken) -> tuple[Account, bool]:
        """Return whose the token is, and whether they know the client's network."""
        async with self._authority.tenant_transaction(tenant.id) as session:
            await require_free_address(session, self._caller.network)
            challenge = await challenges.hold(session, token)
            user_id = None if challenge is None else challenge.user_id
            account = None if user_id is None else await accounts.find_by_id(session, user_id)
            if account is not None:
                return account, await require_free(session, self._attempt(tenant.id, account.id))
        await self._refuse_token(tenant.id)

    async def _answer(
        self, session: TenantSession, tenant: Tenant, token: ChallengeToken, account: Account, shown: Shown
    ) -> SignedIn | None:
        """Let the account in and the token be used, or return None for a code that is wrong."""
        challenge = await challenges.hold(session, token)
        if challenge is None:
            raise TokenInvalid(_INVALID)
        if not await self._factor(session, tenant.id, account.id).takes(shown):
            return None
        await challenges.close(session, challenge)
        if await call_off(session, account.id):
            record(session, tenant.id, RESET_CALLED_OFF, self._caller, resource=f"user:{account.id}")
        await forgive(session, self._attempt(tenant.id, account.id))
        by_password = Attempt.of(str(tenant.id), norm_of(account.email), self._caller.network)
        await know_network(session, by_password)
        return await let_in(session, self._authority, self._caller, tenant, account)

    def _factor(self, session: TenantSession, tenant_id: UUID, user_id: UUID) -> SecondFactor:
        return SecondFactor(session, self._authority.tenancy.tenant_keys, tenant_id, user_id)

    def _attempt(self, tenant_id: UUID, user_id: UUID) -> Attempt:
        return attempt_at(tenant_id, user_id, self._caller.network)

    async def _refuse_token(self, tenant_id: UUID | None) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            await count_address_failure(session, self._caller.network)
            record(session, tenant_id, "login.mfa_token_refused", self._caller, outcome="refused")

        await recorded_refusal(self._authority.transaction(tenant_id), trace, TokenInvalid(_INVALID))

    async def _refuse_code(self, tenant_id: UUID, user_id: UUID, *, is_known: bool) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            await count_failure(session, self._attempt(tenant_id, user_id), is_known=is_known)
            self._record(session, tenant_id, "login.mfa_failed", user_id)

        await recorded_refusal(self._authority.transaction(tenant_id), trace, InvalidCredentials(_WRONG))

    async def _turn_away(self, tenant_id: UUID, user_id: UUID, refusal: ProblemError) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            self._record(session, tenant_id, f"login.{refusal.code}", user_id)

        await recorded_refusal(self._authority.transaction(tenant_id), trace, refusal)

    def _record(self, session: AsyncSession, tenant_id: UUID, action: str, user_id: UUID) -> None:
        # Who has not finished has not been identified, so there is nobody to name as the actor.
        record(session, tenant_id, action, self._caller, outcome="refused", resource=f"user:{user_id}")
