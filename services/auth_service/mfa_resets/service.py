"""The rules of a reset by an operator: begun for a reason, told to the owners, in force after a day.

Nothing is handed to the operator: the owner still needs their password. Until the day has passed, whoever
shows the app or a recovery code calls it off, so that an operator who was talked into it, or who means no
good, opens nothing (docs/decisions/0032-a-lost-second-factor-takes-a-day.md).
"""

from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import Outcome, record_by_operator
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import MfaNotSet
from auth_service.login.service import normalized
from auth_service.mfa_resets import repository
from auth_service.notices.telling import tell
from auth_service.operators.service import visited
from mis_http.sessions import recorded_refusal
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Principal, Tenant

DELAY: Final = timedelta(hours=24)
_ACTION: Final = "operator.mfa_reset"
_NOBODY: Final = "No active owner of this tenant with this address has an authenticator app."


class OwnersFactors:
    """The second factors of owners, as the operator `by` may begin to reset them."""

    def __init__(self, authority: Authority, by: Principal, caller: Caller) -> None:
        self._authority = authority
        self._by = by
        self._caller = caller

    async def begin(self, tenant_id: UUID, email: str, reason: str) -> datetime:
        """Return when the owner's password alone will sign in; a later call starts the day anew.

        Raise TenantNotFound, or MfaNotSet for whoever is no active owner with an app: one answer for all, and
        the tenant's log tells of the try.
        """
        tenant = await visited(self._authority, tenant_id)
        takes_effect_at = datetime.now(UTC) + DELAY
        async with self._authority.tenant_transaction(tenant.id) as session:
            user_id = await repository.begin(session, normalized(email), takes_effect_at)
            if user_id is not None:
                self._record(session, tenant.id, f"user:{user_id}", reason, "success")
                await self._tell(session, tenant, takes_effect_at, reason)
                return takes_effect_at
        await self._refuse(tenant.id, reason)

    async def _tell(self, session: TenantSession, tenant: Tenant, at: datetime, reason: str) -> None:
        what = (
            "The platform's support was told that an owner's authenticator app and recovery codes are lost: "
            f"{reason} From {at:%Y-%m-%d %H:%M} UTC on the password of that account alone signs in. To keep "
            "the app, sign in with it, or with a recovery code, before then."
        )
        for owner in await repository.owners(session):
            await tell(
                session, self._authority.tenancy, tenant, email=owner.email, name=owner.name, what=what
            )

    async def _refuse(self, tenant_id: UUID, reason: str) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            self._record(session, tenant_id, f"tenant:{tenant_id}", reason, "refused")

        await recorded_refusal(self._authority.transaction(tenant_id), trace, MfaNotSet(_NOBODY))

    def _record(
        self, session: AsyncSession, tenant_id: UUID, resource: str, reason: str, outcome: Outcome
    ) -> None:
        record_by_operator(
            session,
            tenant_id,
            self._by.id,
            _ACTION,
            self._caller,
            reason=reason,
            resource=resource,
            kind="change" if outcome == "success" else "security",
            outcome=outcome,
        )
