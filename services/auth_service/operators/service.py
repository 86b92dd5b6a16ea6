"""Operators sign in to the platform, and enter a tenant only by name and for a reason."""

from typing import Final, NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record_by_operator, record_platform
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import InvalidCredentials
from auth_service.login.service import normalized
from auth_service.operator_mfa.signing_in import OperatorSecondStep
from auth_service.operators import repository
from auth_service.operators.entering import OperatorSignedIn, let_in
from auth_service.sessions.access_tokens import AccessToken, Holder
from auth_service.throttling.service import Attempt, count_failure, forgive, require_free
from mis_http.sessions import recorded_refusal
from mis_models.platform import OperatorRow
from mis_tenancy.errors import AuthenticationRequired, TenantNotFound
from mis_tenancy.tenant import Principal, Tenant, TenantStatus
from mis_tenancy.tokens.claims import OPERATOR

_ACT_AS: Final = "operator.act_as"


async def visited(authority: Authority, tenant_id: UUID) -> Tenant:
    """Return the tenant that an operator turns to, in any state; raise TenantNotFound where it is gone."""
    tenant = await authority.tenancy.directory.by_id(tenant_id)
    if tenant is None or tenant.status is TenantStatus.PURGED or tenant.is_purging:
        raise TenantNotFound
    return tenant


class Operators:
    """What operators do to come in, for the client `caller`."""

    def __init__(self, authority: Authority, caller: Caller) -> None:
        self._authority = authority
        self._caller = caller

    async def sign_in(self, email: str, password: str) -> OperatorSignedIn:
        """Return the new session's tokens; raise InvalidCredentials, LoginThrottled or MfaRequired."""
        norm, passwords = normalized(email), self._authority.passwords
        attempt = Attempt.of(OPERATOR, norm, self._caller.network)
        async with self._authority.transaction(None) as session:
            is_known = await require_free(session, attempt)
            operator = await repository.find_by_email(session, norm)
        matches = await passwords.verify(None if operator is None else operator.password_hash, password)
        if operator is None or operator.status != "active" or not matches:
            await self._refuse(operator, attempt, is_known=is_known)
        await OperatorSecondStep(self._authority, self._caller).ask(operator, attempt)
        stale = passwords.needs_rehash(operator.password_hash)
        new_hash = await passwords.hash(password) if stale else None
        async with self._authority.transaction(None) as session:
            await forgive(session, attempt)
            return await let_in(session, self._authority, self._caller, operator, new_hash)

    async def visit(self, by: Principal, tenant_id: UUID, reason: str) -> tuple[Tenant, AccessToken]:
        """Return the tenant, and the token with which the operator acts in it; raise TenantNotFound."""
        tenant = await visited(self._authority, tenant_id)
        if by.session_id is None:
            raise AuthenticationRequired
        async with self._authority.transaction(tenant.id) as session:
            record_by_operator(session, tenant.id, by.id, _ACT_AS, self._caller, reason=reason)
            holder = Holder(by.id, by.user_epoch, by.session_id)
            access = await self._authority.tokens.for_visit(holder, tenant)
        return tenant, access

    async def _refuse(self, operator: OperatorRow | None, attempt: Attempt, *, is_known: bool) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            await count_failure(session, attempt, is_known=is_known)
            resource = None if operator is None else f"operator:{operator.id}"
            record_platform(session, "login.failed", self._caller, outcome="refused", resource=resource)

        await recorded_refusal(self._authority.transaction(None), trace, InvalidCredentials())
