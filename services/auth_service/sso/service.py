"""A sign-in at the tenant's provider: out with a state that this browser alone can bring back, in once.

The browser keeps one random text in a cookie, and everything secret about an attempt is derived from it: the
nonce that the ID token must repeat, and the verifier without which a code is worth nothing (RFC 9700 §2.1).
So an answer that was stolen, replayed or started elsewhere has no use in another browser.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import SsoDeclined, SsoFailed, SsoNotConfigured, SsoRefused, SsoUnavailable
from auth_service.login.entering import let_in
from auth_service.login.repository import Account, find_by_id
from auth_service.notices.telling import tell
from auth_service.sessions.refresh_tokens import RefreshToken
from auth_service.sso import repository
from auth_service.sso.configuration import Provider
from auth_service.sso.id_tokens import verified
from auth_service.sso.people import LINKED, Arrival, arrival_of
from auth_service.sso.providers import Providers
from auth_service.sso.repository import Attempt, IdentityTaken
from auth_service.throttling.service import count_address_failure, require_free_address
from mis_accounts.claims import LimitExceeded
from mis_accounts.members import EmailTaken
from mis_http.sessions import recorded_refusal
from mis_tenancy.encryption import Undecryptable
from mis_tenancy.errors import ProblemError
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Tenant
from mis_tenancy.tokens.jose import encode_segment

LIFETIME: Final = timedelta(minutes=10)
_OF_A_PERSON: Final = ("email", "email_verified", "name")


@dataclass(frozen=True, slots=True)
class Returned:
    """What a provider sent the browser back with; each part is a stranger's word."""

    state: str
    code: str
    error: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Entered:
    """The session of whoever came in, and where they were going."""

    token: RefreshToken
    next_path: str | None


class SingleSignOn:
    """Signs people in at the provider of `tenant`, for the browser `caller`."""

    def __init__(self, authority: Authority, providers: Providers, tenant: Tenant, caller: Caller) -> None:
        self._authority = authority
        self._providers = providers
        self._tenant = tenant
        self._caller = caller

    async def start(self, browser: str, next_path: str | None, callback: str) -> str:
        """Return where the browser, whose cookie holds `browser`, is sent to.

        Raise SsoNotConfigured, or SsoUnavailable where the provider cannot be asked.
        """
        provider = await self._provider()
        state = secrets.token_urlsafe(32)
        url = await self._providers.authorization_url(
            provider,
            callback,
            state=state,
            nonce=_derived(browser, "nonce", state),
            verifier=_derived(browser, "verifier", state),
        )
        attempt = Attempt(
            _digest(state), _digest(browser), provider.issuer, provider.client_id, callback, next_path
        )
        async with self._authority.tenant_transaction(self._tenant.id) as session:
            await repository.add_attempt(session, attempt, datetime.now(UTC), LIFETIME)
        return url

    async def finish(self, browser: str | None, returned: Returned) -> Entered:
        """Return the session of whoever the provider has signed in.

        Raise SsoFailed for an answer to nothing that this browser asked, SsoDeclined where the provider let
        nobody in, SsoRefused for whom the tenant does not take, LimitExceeded where it has no seat.
        """
        provider = await self._provider()
        try:
            attempt = await self._attempt(provider, browser, returned)
            claims = await self._claims(provider, attempt, browser or "", returned)
            return Entered(await self._enter(provider, claims), attempt.next_path)
        except (SsoFailed, SsoDeclined, SsoRefused, SsoUnavailable, LimitExceeded) as refusal:
            await self._refuse(refusal)

    async def _provider(self) -> Provider:
        try:
            async with self._authority.tenant_transaction(self._tenant.id) as session:
                provider = await repository.provider_of(session, self._authority.tenancy.tenant_keys)
        except Undecryptable as error:
            raise SsoUnavailable from error
        if provider is None:
            raise SsoNotConfigured
        return provider

    async def _attempt(self, provider: Provider, browser: str | None, returned: Returned) -> Attempt:
        """Return what this browser had asked, which can be answered once."""
        async with self._authority.tenant_transaction(self._tenant.id) as session:
            await require_free_address(session, self._caller.network)
            attempt = await repository.take_attempt(session, _digest(returned.state), datetime.now(UTC))
        if attempt is None or browser is None:
            raise SsoFailed
        if not hmac.compare_digest(attempt.browser_hash, _digest(browser)):
            raise SsoFailed
        if (attempt.issuer, attempt.client_id) != (provider.issuer, provider.client_id):
            raise SsoFailed
        return attempt

    async def _claims(
        self, provider: Provider, attempt: Attempt, browser: str, returned: Returned
    ) -> Mapping[str, Any]:
        """Exchange the code, and return what the provider says of whom it signed in."""
        published = await self._providers.published(provider.issuer)
        # Whose answer this is: another provider's, mixed in, would be exchanged at the wrong one (RFC 9207).
        if returned.issuer != provider.issuer and (returned.issuer or published.names_itself):
            raise SsoFailed
        if returned.error == "access_denied":
            raise SsoDeclined
        if returned.error or not returned.code:
            raise SsoFailed
        verifier = _derived(browser, "verifier", returned.state)
        answer = await self._providers.exchange(
            provider, attempt.callback, code=returned.code, verifier=verifier
        )
        nonce = _derived(browser, "nonce", returned.state)
        claims = await verified(self._providers, provider, answer, nonce)
        return claims if "email" in claims else await self._completed(provider, claims, answer)

    async def _completed(
        self, provider: Provider, claims: dict[str, Any], answer: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return the claims with what the provider says elsewhere of the very same subject."""
        said = await self._providers.userinfo(provider, str(answer.get("access_token", "")))
        # OpenID Connect Core 1.0 §5.3.2: another subject's would be somebody else's address.
        if said.get("sub") != claims["sub"]:
            return claims
        beside: dict[str, Any] = {name: said[name] for name in _OF_A_PERSON if name in said}
        return beside | claims

    async def _enter(self, provider: Provider, claims: Mapping[str, Any]) -> RefreshToken:
        """Let in whom the claims are about; raise SsoRefused, or LimitExceeded where there is no seat."""
        try:
            return await self._admit(provider, claims)
        except (EmailTaken, IdentityTaken):
            # Two first sign-ins have met. The other one has made or linked the user, who is known by now.
            try:
                return await self._admit(provider, claims)
            except (EmailTaken, IdentityTaken) as error:
                raise SsoRefused("identity_taken") from error

    async def _admit(self, provider: Provider, claims: Mapping[str, Any]) -> RefreshToken:
        async with self._authority.tenant_transaction(self._tenant.id) as session:
            arrival = await arrival_of(session, provider, claims, datetime.now(UTC))
            self._write_down(session, provider, arrival)
            account = await find_by_id(session, arrival.user_id)
            if account is None:
                raise SsoRefused("no_account")
            if arrival.change == LINKED:
                await self._tell(session, account)
            # The provider has asked for as many factors as the tenant wants it to.
            done = await let_in(session, self._authority, self._caller, self._tenant, account)
        return done.refresh

    async def _tell(self, session: TenantSession, account: Account) -> None:
        """Mail somebody that their account opens in another way from now on, should it be somebody else's."""
        who = {"email": account.email, "name": account.name}
        what = "You can sign in through your organisation's identity provider."
        await tell(session, self._authority.tenancy, self._tenant, **who, what=what)

    def _write_down(self, session: TenantSession, provider: Provider, arrival: Arrival) -> None:
        tenant_id, user_id = self._tenant.id, arrival.user_id
        resource = f"user:{user_id}"
        if arrival.change is not None:
            record(
                session,
                tenant_id,
                arrival.change,
                self._caller,
                kind="change",
                actor=user_id,
                resource=resource,
            )
        issuer = {"issuer": {"old": None, "new": provider.issuer}}
        record(
            session, tenant_id, "sso.accepted", self._caller, actor=user_id, resource=resource, changes=issuer
        )

    async def _refuse(self, refusal: ProblemError) -> NoReturn:
        reason = refusal.reason if isinstance(refusal, SsoRefused) else refusal.code

        async def trace(session: AsyncSession) -> None:
            if isinstance(refusal, SsoFailed):
                await count_address_failure(session, self._caller.network)
            changes = {"reason": {"old": None, "new": reason}}
            record(
                session,
                self._tenant.id,
                "login.sso_refused",
                self._caller,
                outcome="refused",
                changes=changes,
            )

        await recorded_refusal(self._authority.transaction(self._tenant.id), trace, refusal)


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "replace")).digest()


def _derived(browser: str, purpose: str, state: str) -> str:
    """Return what only this browser's cookie gives, for one purpose of one attempt."""
    return encode_segment(
        hmac.digest(browser.encode(), f"{purpose}\n{state}".encode("utf-8", "replace"), "sha256")
    )
