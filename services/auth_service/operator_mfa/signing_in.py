"""The second step of an operator's sign-in: asked for once the password is right, and answered once."""

from datetime import UTC, datetime
from typing import Final, NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record_platform
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import InvalidCredentials, MfaRequired
from auth_service.mfa.checking import Shown
from auth_service.operator_mfa import repository
from auth_service.operator_mfa.checking import attempt_at, methods_of, takes
from auth_service.operator_mfa.waiting import (
    WaitingToken,
    is_good,
    new_waiting_token,
    parse_waiting_token,
)
from auth_service.operators.entering import OperatorSignedIn, let_in
from auth_service.throttling.service import (
    Attempt,
    count_address_failure,
    count_failure,
    forgive,
    know_network,
    require_free,
    require_free_address,
)
from mis_http.sessions import recorded_refusal
from mis_models.platform import OperatorRow
from mis_tenancy.errors import TokenInvalid
from mis_tenancy.tokens.claims import OPERATOR

_WRONG: Final = "The code is wrong, or was used already."
_INVALID: Final = "mfaToken is not valid, or not any more. Sign in again."


class OperatorSecondStep:
    """Asks operators for their second factors and takes them, for the client `caller`."""

    def __init__(self, authority: Authority, caller: Caller) -> None:
        self._authority = authority
        self._wrapping = authority.tenancy.wrapping
        self._caller = caller

    async def ask(self, operator: OperatorRow, attempt: Attempt) -> None:
        """Raise MfaRequired where the operator, whose password was right, has a second factor.

        Raise LoginThrottled where guesses have closed the password's counter meanwhile.
        """
        methods = methods_of(operator)
        if not methods:
            return
        token = new_waiting_token(self._wrapping, operator, datetime.now(UTC))

        async def trace(session: AsyncSession) -> None:
            await require_free(session, attempt)
            self._record(session, "login.mfa_required", operator.id)

        await recorded_refusal(self._authority.transaction(None), trace, MfaRequired(token.text, methods))

    async def finish(self, text: str, shown: Shown) -> OperatorSignedIn:
        """Return the session of whoever the token was given to.

        Raise TokenInvalid for whatever is wrong with the token, InvalidCredentials for a code that is wrong
        or used, which leaves the token good, and LoginThrottled after too many of these.
        """
        token = parse_waiting_token(text)
        if token is None:
            await self._refuse_token()
        operator, attempt, is_known = await self._addressed(token)
        async with self._authority.transaction(None) as session:
            if await takes(session, self._wrapping, operator, shown):
                await forgive(session, attempt)
                by_password = Attempt.of(OPERATOR, operator.email_norm, self._caller.network)
                await know_network(session, by_password)
                return await let_in(session, self._authority, self._caller, operator, None)
        await self._refuse_code(operator.id, attempt, is_known=is_known)

    async def _addressed(self, token: WaitingToken) -> tuple[OperatorRow, Attempt, bool]:
        """Return whose the token is, the counters of guesses, and whether these know the client's network."""
        async with self._authority.transaction(None) as session:
            await require_free_address(session, self._caller.network)
            operator = await repository.find(session, token.operator_id)
            if operator is not None and is_good(self._wrapping, token, operator, datetime.now(UTC)):
                attempt = attempt_at(operator.id, self._caller.network)
                return operator, attempt, await require_free(session, attempt)
        await self._refuse_token()

    async def _refuse_token(self) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            await count_address_failure(session, self._caller.network)
            record_platform(session, "login.mfa_token_refused", self._caller, outcome="refused")

        await recorded_refusal(self._authority.transaction(None), trace, TokenInvalid(_INVALID))

    async def _refuse_code(self, operator_id: UUID, attempt: Attempt, *, is_known: bool) -> NoReturn:
        async def trace(session: AsyncSession) -> None:
            await count_failure(session, attempt, is_known=is_known)
            self._record(session, "login.mfa_failed", operator_id)

        await recorded_refusal(self._authority.transaction(None), trace, InvalidCredentials(_WRONG))

    def _record(self, session: AsyncSession, action: str, operator_id: UUID) -> None:
        # Who has not finished has not been identified, so there is nobody to name as the actor.
        resource = f"operator:{operator_id}"
        record_platform(session, action, self._caller, outcome="refused", resource=resource)
