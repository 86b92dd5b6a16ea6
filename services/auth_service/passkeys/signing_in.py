"""Signing in with a passkey, which is both factors at once: the device, and whatever it knows its owner by.

Nobody is named beforehand. The browser shows the person their passkeys; the credential's row, which only the
tenant's own rows are looked for, says whose it is.
"""

from datetime import UTC, datetime
from typing import Any, Final, NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.challenges import repository as challenges
from auth_service.challenges.tokens import ChallengePurpose, ChallengeToken, parse_challenge_token
from auth_service.errors import InvalidCredentials, SsoRequired
from auth_service.login import repository as accounts
from auth_service.login.entering import SignedIn, let_in
from auth_service.naming import named_by_token
from auth_service.passkeys import repository
from auth_service.passkeys.ceremonies import (
    Assertion,
    CeremonyFailed,
    authentication_options,
    challenge_of,
    credential_and_user,
    verify_authentication,
)
from auth_service.passkeys.places import Arrival
from auth_service.passkeys.registering import LIFETIME, Asked
from auth_service.sso.enforcing import require_local_sign_in
from auth_service.throttling.service import (
    Attempt,
    count_address_failure,
    know_network,
    require_free_address,
)
from mis_accounts.emails import norm_of
from mis_http.sessions import recorded_refusal
from mis_models.factors import PasskeyRow
from mis_tenancy.access import require_feature
from mis_tenancy.errors import ProblemError, TenantPendingDeletion, TenantSuspended
from mis_tenancy.plans import Feature
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Tenant

_FAILED: Final = "The passkey could not be verified. Start again."


class _Copied(Exception):
    """The passkey's counter has not gone forward, as that of a copy would not."""


class PasskeySignIn:
    """Signs members in who have a passkey, for the client `caller`, whose request came to `arrival`."""

    def __init__(self, authority: Authority, caller: Caller, arrival: Arrival) -> None:
        self._authority = authority
        self._caller = caller
        self._arrival = arrival

    async def ask(self, tenant: Tenant) -> Asked:
        """Return what the browser is asked; raise FeatureNotAvailable, PasskeyOriginUnsupported."""
        require_feature(tenant, Feature.BIOMETRIC_AUTH)
        place = self._arrival.place_for(tenant)
        async with self._authority.tenant_transaction(tenant.id) as session:
            now, purpose = datetime.now(UTC), ChallengePurpose.PASSKEY_SIGN_IN
            token = await challenges.add(session, purpose, now=now, lifetime=LIFETIME)
        options = authentication_options(place, challenge_of(token), int(LIFETIME.total_seconds()))
        return Asked(options, token.text)

    async def finish(self, text: str, credential: dict[str, Any]) -> SignedIn:
        """Return the session of the passkey's user.

        Raise InvalidCredentials for whatever is wrong with the token or the credential, and then the token is
        used up; FeatureNotAvailable, PasskeyOriginUnsupported, LoginThrottled, SsoRequired, and what keeps a
        member out of a tenant that is suspended or ending.
        """
        token = parse_challenge_token(text, ChallengePurpose.PASSKEY_SIGN_IN)
        tenant = None if token is None else await named_by_token(self._authority, self._caller, token)
        if token is None or tenant is None:
            await self._refuse(None, "login.passkey_failed", InvalidCredentials(_FAILED))
        passkey: PasskeyRow | None = None
        try:
            passkey = await self._present(tenant, token, credential)
            require_feature(tenant, Feature.BIOMETRIC_AUTH)
            proof = self._proof(tenant, token, credential, passkey)
            async with self._authority.tenant_transaction(tenant.id) as session:
                return await self._enter(session, tenant, passkey, proof)
        except CeremonyFailed:
            refusal: ProblemError = InvalidCredentials(_FAILED)
            action = "login.passkey_failed"
        except _Copied:
            refusal, action = InvalidCredentials(_FAILED), "login.passkey_copied"
        except (SsoRequired, TenantSuspended, TenantPendingDeletion) as turned_away:
            refusal, action = turned_away, f"login.{turned_away.code}"
        await self._refuse(tenant.id, action, refusal, None if passkey is None else passkey.user_id)

    async def _present(self, tenant: Tenant, token: ChallengeToken, credential: dict[str, Any]) -> PasskeyRow:
        """Use the token up and return the passkey that is presented; raise CeremonyFailed."""
        async with self._authority.tenant_transaction(tenant.id) as session:
            await require_free_address(session, self._caller.network)
            challenge = await challenges.hold(session, token)
            if challenge is not None:
                await challenges.close(session, challenge)
        credential_id, handle = credential_and_user(credential)
        async with self._authority.tenant_transaction(tenant.id) as session:
            passkey = await repository.find(session, credential_id)
        # The handle is not signed, yet a discoverable credential always comes with the one it was made for.
        if challenge is None or passkey is None or handle != passkey.user_handle:
            raise CeremonyFailed
        return passkey

    def _proof(
        self, tenant: Tenant, token: ChallengeToken, credential: dict[str, Any], passkey: PasskeyRow
    ) -> Assertion:
        place = self._arrival.place_for(tenant)
        return verify_authentication(credential, place, challenge_of(token), passkey.public_key)

    async def _enter(
        self, session: TenantSession, tenant: Tenant, passkey: PasskeyRow, proof: Assertion
    ) -> SignedIn:
        if not await repository.use(session, passkey.id, proof):
            raise _Copied
        account = await accounts.find_by_id(session, passkey.user_id)
        if account is None:
            raise CeremonyFailed
        await require_local_sign_in(session, self._authority, account.role)
        attempt = Attempt.of(str(tenant.id), norm_of(account.email), self._caller.network)
        await know_network(session, attempt)
        return await let_in(session, self._authority, self._caller, tenant, account)

    async def _refuse(
        self, tenant_id: UUID | None, action: str, refusal: ProblemError, user_id: UUID | None = None
    ) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            if isinstance(refusal, InvalidCredentials):
                await count_address_failure(session, self._caller.network)
            resource = None if user_id is None else f"user:{user_id}"
            record(session, tenant_id, action, self._caller, outcome="refused", resource=resource)

        await recorded_refusal(self._authority.transaction(tenant_id), trace, refusal)
