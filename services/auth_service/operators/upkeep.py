"""What whoever runs the deployment does to operators: lets one go, back in, or have another password."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.operators import repository
from auth_service.operators.making import POLICY
from auth_service.sessions import repository as sessions
from auth_service.sessions.books import OPERATORS
from auth_service.sessions.service import announce_end
from mis_accounts.emails import parse_email
from mis_accounts.passwords import Passwords
from mis_models.platform import OperatorRow
from mis_tenancy.errors import ProblemError


class OperatorNotFound(ProblemError):
    """There is no operator of this address."""

    status = 404
    code = "operator_not_found"
    detail = "There is no operator of this e-mail address."


async def operator_of(session: AsyncSession, email: str) -> OperatorRow:
    """Return the operator of the address; raise ValidationFailed or OperatorNotFound."""
    operator = await repository.find_by_email(session, parse_email(email).norm)
    if operator is None:
        raise OperatorNotFound
    return operator


async def end_everything(session: AsyncSession, operator_id: UUID, reason: str) -> None:
    """End the operator's sessions, and with them their access tokens and visits, within a second."""
    ended = await sessions.end(session, OPERATORS, OPERATORS.holder == operator_id, reason=reason)
    announce_end(session, None, ended)


async def set_status(session: AsyncSession, email: str, *, active: bool) -> UUID:
    """Let the operator go, which ends all that they have open, or back in; return their id."""
    operator = await operator_of(session, email)
    operator.status = "active" if active else "disabled"
    if not active:
        await end_everything(session, operator.id, "operator_disabled")
    return operator.id


async def replace_password(session: AsyncSession, passwords: Passwords, email: str, password: str) -> UUID:
    """Give the operator another password, which ends all that they have open; return their id.

    Raise PasswordPolicyUnmet for one that is guessed soon.
    """
    operator = await operator_of(session, email)
    operator.password_hash = await passwords.hash_new(password, POLICY, (operator.email_norm, operator.name))
    await end_everything(session, operator.id, "password_changed")
    return operator.id
