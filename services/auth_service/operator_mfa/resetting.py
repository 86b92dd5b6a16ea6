"""Taking an operator's second factor away who has lost it, by whoever runs the deployment."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.errors import MfaNotSet
from auth_service.operator_mfa import repository
from auth_service.operators import repository as operators
from auth_service.sessions import repository as sessions
from auth_service.sessions.books import OPERATORS
from auth_service.sessions.service import announce_end
from mis_accounts.emails import parse_email
from mis_tenancy.errors import ProblemError


class OperatorNotFound(ProblemError):
    """There is no operator of this address."""

    status = 404
    code = "operator_not_found"
    detail = "There is no operator of this e-mail address."


async def reset_factor(session: AsyncSession, email: str) -> UUID:
    """Let the operator sign in with the password alone, end their sessions, and return their id.

    Raise ValidationFailed, OperatorNotFound or MfaNotSet.
    """
    operator = await operators.find_by_email(session, parse_email(email).norm)
    if operator is None:
        raise OperatorNotFound
    if not await repository.remove(session, operator.id):
        raise MfaNotSet
    # Whoever has the lost app may have signed in by it.
    ended = await sessions.end(session, OPERATORS, OPERATORS.holder == operator.id, reason="mfa_reset")
    announce_end(session, None, ended)
    return operator.id
