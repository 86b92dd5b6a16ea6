"""Setting a new password by a mailed link, which works once and ends every session of the account."""

from datetime import UTC, datetime
from typing import NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import LinkInvalid
from auth_service.naming import named_by_token
from auth_service.passwords import repository
from auth_service.passwords.letters import tell_of_change
from auth_service.throttling.service import Attempt, count_address_failure, know_network, require_free_address
from mis_accounts.account_links import drop_account_links, use_account_link
from mis_accounts.departures import end_sessions
from mis_accounts.link_tokens import LinkPurpose, LinkToken, parse_link_token
from mis_accounts.withdrawals import drop_invitation
from mis_http.sessions import recorded_refusal
from mis_tenancy.tenant import Tenant


class Resetting:
    """Resets passwords, for the client `caller`."""

    def __init__(self, authority: Authority, caller: Caller) -> None:
        self._authority = authority
        self._caller = caller

    async def reset(self, text: str, password: str) -> None:
        """Give the account of the token its new password; who waited for an invitation becomes active.

        Raise LinkInvalid for whatever is wrong with the token, PasswordPolicyUnmet for a password that the
        tenant does not take, which leaves the token good.
        """
        token = parse_link_token(text, LinkPurpose.RESET)
        tenant = None if token is None else await named_by_token(self._authority, self._caller, token)
        if token is None or tenant is None:
            await self._refuse(None)
        async with self._authority.tenant_transaction(tenant.id) as session:
            await require_free_address(session, self._caller.network)
            person = await repository.holder_of_link(session, token)
        if person is None:
            await self._refuse(tenant.id)
        context = (person.email_norm, person.name, tenant.slug, tenant.name)
        policy = tenant.configuration["security.password_policy"]
        hashed = await self._authority.passwords.hash_new(password, policy, context, field="newPassword")
        await self._replace(tenant, token, hashed)

    async def _replace(self, tenant: Tenant, token: LinkToken, password_hash: str) -> None:
        async with self._authority.tenant_transaction(tenant.id) as session:
            used = await use_account_link(session, token)
            if used is None:
                raise LinkInvalid
            user_id: UUID = used.user_id
            person = await repository.reset_hash(session, user_id, password_hash)
            if person is None:
                raise LinkInvalid
            # Who reads the account's mail is no stranger to it, however many guess at its password.
            await know_network(session, Attempt.of(str(tenant.id), person.email_norm, self._caller.network))
            # Whoever else had asked for a link, or for another address, does not get in by it any more.
            await drop_account_links(session, user_id)
            await drop_invitation(session, user_id)
            await end_sessions(session, user_id, reason="password_reset", now=datetime.now(UTC))
            await tell_of_change(session, self._authority.tenancy, tenant, person.email, person.name)
            record(
                session,
                tenant.id,
                "password.reset",
                self._caller,
                kind="change",
                actor=user_id,
                resource=f"user:{user_id}",
            )

    async def _refuse(self, tenant_id: UUID | None) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            await count_address_failure(session, self._caller.network)
            record(session, tenant_id, "password.reset_refused", self._caller, outcome="refused")

        await recorded_refusal(self._authority.transaction(tenant_id), trace, LinkInvalid())
