"""How an operator comes to be, by hand."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.operators import repository
from mis_accounts.emails import parse_email
from mis_accounts.passwords import Passwords
from mis_models.platform import OperatorRow
from mis_tenancy.errors import ProblemError

# Whoever holds this password reaches every tenant.
POLICY: Final = {"policyMode": "nist", "minLength": 12}


class OperatorTaken(ProblemError):
    """There is an operator of this address."""

    status = 409
    code = "operator_taken"
    detail = "There is an operator of this e-mail address already."


async def make_operator(
    session: AsyncSession, passwords: Passwords, *, email: str, name: str, password: str
) -> OperatorRow:
    """Add an active operator; raise ValidationFailed, PasswordPolicyUnmet or OperatorTaken."""
    address = parse_email(email)
    encoded = await passwords.hash_new(password, POLICY, (address.norm, name))
    await repository.lock(session)
    if await repository.find_by_email(session, address.norm) is not None:
        raise OperatorTaken
    return await repository.add(session, address, name, encoded, datetime.now(UTC))
