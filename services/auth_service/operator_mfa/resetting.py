"""Taking an operator's second factor away who has lost it, by whoever runs the deployment."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.errors import MfaNotSet
from auth_service.operator_mfa import repository
from auth_service.operators.upkeep import end_everything, operator_of


async def reset_factor(session: AsyncSession, email: str) -> UUID:
    """Let the operator sign in with the password alone, end their sessions, and return their id.

    Raise ValidationFailed, OperatorNotFound or MfaNotSet.
    """
    operator = await operator_of(session, email)
    if not await repository.remove(session, operator.id):
        raise MfaNotSet
    # Whoever has the lost app may have signed in by it.
    await end_everything(session, operator.id, "mfa_reset")
    return operator.id
