"""The statement that gives a user another address."""

from typing import Final
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.exc import IntegrityError

from mis_accounts.emails import Email
from mis_accounts.members import EmailTaken
from mis_models.accounts import UserRow
from mis_tenancy.session import TenantSession

_UNIQUE_EMAIL: Final = "uq_users_tenant_id_email_norm"


async def move(session: TenantSession, user_id: UUID, email: Email) -> UserRow | None:
    """Give the user the address and return the row, or None where they are gone or disabled.

    Raise EmailTaken where it has become another user's; the transaction is then lost.
    """
    statement = (
        update(UserRow)
        .where(UserRow.id == user_id, UserRow.status != "disabled")
        .values(
            email=email.address,
            email_norm=email.norm,
            version=UserRow.version + 1,
            updated_at=func.statement_timestamp(),
        )
        .returning(UserRow)
        .execution_options(synchronize_session=False)
    )
    try:
        return await session.scalar(statement)
    except IntegrityError as error:
        if _UNIQUE_EMAIL in str(error.orig):
            raise EmailTaken from error
        raise
