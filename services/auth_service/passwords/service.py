"""Changing one's own password, which ends every other sign-in."""

from datetime import UTC, datetime
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import InvalidCredentials
from auth_service.membership import tenant_of_member
from auth_service.passwords import repository
from auth_service.passwords.letters import tell_of_change
from auth_service.throttling.service import Attempt, count_failure, require_free
from mis_accounts.departures import end_sessions
from mis_http.sessions import recorded_refusal
from mis_tenancy.errors import TokenRevoked
from mis_tenancy.tenant import Principal, Tenant


class OwnPassword:
    """The password of the member `principal`.

    Raise PermissionDenied for anybody but a member with a full token.
    """

    def __init__(
        self, authority: Authority, principal: Principal, tenant: Tenant | None, caller: Caller
    ) -> None:
        self._authority = authority
        self._principal = principal
        self._tenant = tenant_of_member(principal, tenant)
        self._caller = caller

    async def change(self, current: str, new: str) -> None:
        """Replace the password and end all sessions but this one.

        Raise InvalidCredentials where `current` is not the password, LoginThrottled after too many such, and
        PasswordPolicyUnmet for a new one that the tenant does not take.
        """
        async with self._authority.tenant_transaction(self._tenant.id) as session:
            found = await repository.find(session, self._principal.id)
            if found is None:
                raise TokenRevoked
            attempt = Attempt.of(str(self._tenant.id), found.email_norm, self._caller.network)
            is_known = await require_free(session, attempt)
        if not await self._authority.passwords.verify(found.password_hash, current):
            await self._refuse(attempt, is_known=is_known)
        context = (found.email_norm, found.name, self._tenant.slug, self._tenant.name)
        policy = self._tenant.configuration["security.password_policy"]
        hashed = await self._authority.passwords.hash_new(new, policy, context, field="newPassword")
        await self._replace(found.password_hash, hashed)

    async def _replace(self, old: str | None, new: str) -> None:
        principal = self._principal
        async with self._authority.tenant_transaction(self._tenant.id) as session:
            person = await repository.replace_hash(session, principal.id, old, new)
            if person is None:
                raise InvalidCredentials
            await end_sessions(
                session,
                principal.id,
                reason="password_changed",
                now=datetime.now(UTC),
                except_session=principal.session_id,
            )
            await tell_of_change(session, self._authority.tenancy, self._tenant, person.email, person.name)
            record(
                session,
                self._tenant.id,
                "password.changed",
                self._caller,
                kind="change",
                actor=principal.id,
                resource=f"user:{principal.id}",
            )

    async def _refuse(self, attempt: Attempt, *, is_known: bool) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            await count_failure(session, attempt, is_known=is_known)
            record(
                session,
                self._tenant.id,
                "password.change_failed",
                self._caller,
                outcome="refused",
                actor=self._principal.id,
                resource=f"user:{self._principal.id}",
            )

        await recorded_refusal(self._authority.transaction(self._tenant.id), trace, InvalidCredentials())
