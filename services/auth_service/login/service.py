"""Signing in: every kind of wrong gets one answer, after the same work.

Each attempt reads the same rows, runs one password hash and writes one trace, whether the tenant, the address
or the password was wrong. No transaction is open while the hash runs.
"""

from contextlib import AbstractAsyncContextManager
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import InvalidCredentials, SsoRequired
from auth_service.login import repository
from auth_service.login.entering import SignedIn, let_in
from auth_service.login.repository import Account
from auth_service.mfa.signing_in import SecondStep
from auth_service.naming import named_tenant
from auth_service.sso.enforcing import require_local_sign_in
from auth_service.throttling.service import Attempt, count_failure, forgive, require_free
from mis_accounts.emails import norm_of, parse_email
from mis_http.sessions import recorded_refusal
from mis_tenancy.errors import (
    ProblemError,
    TenantPendingDeletion,
    TenantSuspended,
    ValidationFailed,
)
from mis_tenancy.tenant import Tenant


class Login:
    """Signs members in, for the client `caller`."""

    def __init__(self, authority: Authority, caller: Caller) -> None:
        self._authority = authority
        self._caller = caller

    async def sign_in(self, email: str, password: str, tenant_slug: str | None) -> SignedIn:
        """Return the new session's tokens.

        Raise InvalidCredentials for whatever is wrong, LoginThrottled after too many failures, MfaRequired
        where a second factor is set, SsoRequired where members come through the tenant's identity provider,
        and what keeps a member out of a tenant that is suspended or ending.
        """
        tenant, realm, self._caller = await named_tenant(self._authority, self._caller, tenant_slug)
        norm = normalized(email)
        attempt = Attempt.of(realm, norm, self._caller.network)
        async with self._open(tenant) as session:
            is_known = await require_free(session, attempt)
            account = await repository.find_account(session, norm)
        encoded = None if account is None else account.password_hash
        matches = await self._authority.passwords.verify(encoded, password)
        if tenant is None or account is None or not account.is_active or not matches:
            await self._refuse(tenant, account, attempt, is_known=is_known)
        return await self._enter(tenant, account, attempt, await self._renewed_hash(account, password))

    async def _enter(
        self, tenant: Tenant, account: Account, attempt: Attempt, new_hash: str | None
    ) -> SignedIn:
        try:
            async with self._authority.tenant_transaction(tenant.id) as session:
                await require_local_sign_in(session, self._authority, account.role)
                asked = await SecondStep(self._authority, self._caller).ask(session, tenant, account, attempt)
                if asked is None:
                    await forgive(session, attempt)
                    return await let_in(session, self._authority, self._caller, tenant, account, new_hash)
        except (SsoRequired, TenantSuspended, TenantPendingDeletion) as refusal:
            await self._turn_away(tenant, account, refusal)
        raise asked

    async def _refuse(
        self, tenant: Tenant | None, account: Account | None, attempt: Attempt, *, is_known: bool
    ) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            await count_failure(session, attempt, is_known=is_known)
            self._record(session, tenant, "login.failed", account, succeeded=False)

        await recorded_refusal(self._open(tenant), trace, InvalidCredentials())

    async def _turn_away(self, tenant: Tenant, account: Account, refusal: ProblemError) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            self._record(session, tenant, f"login.{refusal.code}", account, succeeded=False)

        await recorded_refusal(self._open(tenant), trace, refusal)

    def _record(
        self,
        session: AsyncSession,
        tenant: Tenant | None,
        action: str,
        account: Account | None,
        *,
        succeeded: bool = True,
    ) -> None:
        record(
            session,
            None if tenant is None else tenant.id,
            action,
            self._caller,
            outcome="success" if succeeded else "refused",
            # Who failed to sign in has not been identified, so only a success has an actor.
            actor=account.id if succeeded and account is not None else None,
            resource=None if account is None else f"user:{account.id}",
        )

    def _open(self, tenant: Tenant | None) -> AbstractAsyncContextManager[AsyncSession]:
        return self._authority.transaction(None if tenant is None else tenant.id)

    async def _renewed_hash(self, account: Account, password: str) -> str | None:
        """Return the password hashed with today's parameters, where its hash has older ones."""
        passwords = self._authority.passwords
        if account.password_hash is None or not passwords.needs_rehash(account.password_hash):
            return None
        return await passwords.hash(password)


def normalized(email: str) -> str:
    """Return the form an address is looked up by; what is no address is nobody's, not an error."""
    try:
        return parse_email(email).norm
    except ValidationFailed:
        return norm_of(email.strip())
