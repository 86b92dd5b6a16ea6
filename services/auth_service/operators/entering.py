"""Letting an operator in who has proven everything that was asked of them."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record_platform
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import InvalidCredentials
from auth_service.operators import repository
from auth_service.sessions.access_tokens import AccessToken, Holder
from auth_service.sessions.books import OPERATORS, OPERATORS_LIFETIME
from auth_service.sessions.refresh_tokens import RefreshToken
from auth_service.sessions.service import open_session
from mis_models.platform import OperatorRow


@dataclass(frozen=True, slots=True)
class OperatorSignedIn:
    """What an operator's sign-in brings."""

    operator: OperatorRow
    access: AccessToken
    refresh: RefreshToken


async def let_in(
    session: AsyncSession, authority: Authority, caller: Caller, operator: OperatorRow, new_hash: str | None
) -> OperatorSignedIn:
    """Open a session of the operator and return its tokens; `new_hash` renews the password's hash.

    Raise InvalidCredentials where they were disabled, or got another password or second factor, since they
    were read.
    """
    epoch = await repository.mark_signed_in(session, operator, new_hash)
    if epoch is None:
        raise InvalidCredentials
    await repository.forget_lapsed_sessions(session)
    now = datetime.now(UTC)
    opened = await open_session(session, OPERATORS, operator.id, None, OPERATORS_LIFETIME, caller, now)
    resource = f"operator:{operator.id}"
    record_platform(session, "login.succeeded", caller, actor=operator.id, resource=resource)
    access = await authority.tokens.for_operator(Holder(operator.id, epoch, opened.id))
    return OperatorSignedIn(operator, access, opened.refresh_token)
