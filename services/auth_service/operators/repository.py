"""Every statement about operators; they belong to no tenant and are reached as the auth role."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mis_accounts.emails import Email
from mis_models.platform import OperatorRow, OperatorSessionRow
from mis_tenancy.identifiers import new_id

# Any number will do, as long as nobody else locks on it.
_LOCK: Final = 7_100_002
# As members': so long the use of an old refresh token can be told from an invention.
_KEPT_PAST_THEIR_END: Final = timedelta(days=7)


async def lock(session: AsyncSession) -> None:
    """Let no other process add operators until the transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


async def find_by_email(session: AsyncSession, email_norm: str) -> OperatorRow | None:
    """Return the operator of an address, or None."""
    return await session.scalar(select(OperatorRow).where(OperatorRow.email_norm == email_norm))


async def find_operator(session: AsyncSession, operator_id: UUID) -> tuple[str, str] | None:
    """Return the operator's address and name, or None."""
    columns = select(OperatorRow.email, OperatorRow.name).where(OperatorRow.id == operator_id)
    row = (await session.execute(columns)).one_or_none()
    return None if row is None else (row[0], row[1])


async def add(
    session: AsyncSession, email: Email, name: str, password_hash: str, now: datetime
) -> OperatorRow:
    """Insert an active operator."""
    operator = OperatorRow(
        id=new_id(),
        email=email.address,
        email_norm=email.norm,
        name=name,
        status="active",
        password_hash=password_hash,
        epoch=0,
        created_at=now,
    )
    session.add(operator)
    await session.flush()
    return operator


async def forget_lapsed_sessions(session: AsyncSession) -> None:
    """Delete sessions that ended by their age a week ago; the worker's role reaches none of operators'."""
    lapsed = OperatorSessionRow.expires_at < func.statement_timestamp() - _KEPT_PAST_THEIR_END
    gone = delete(OperatorSessionRow).where(lapsed).execution_options(synchronize_session=False)
    await session.execute(gone)


async def mark_signed_in(session: AsyncSession, operator: OperatorRow, new_hash: str | None) -> int | None:
    """Note that the operator has signed in, and return their epoch.

    Return None where they were disabled, or got another password or second factor, since they were read.
    """
    still_good = (
        OperatorRow.id == operator.id,
        OperatorRow.status == "active",
        OperatorRow.password_hash == operator.password_hash,
        OperatorRow.totp_confirmed_at.is_not_distinct_from(operator.totp_confirmed_at),
    )
    values = {OperatorRow.last_login_at: func.statement_timestamp()} | (
        {} if new_hash is None else {OperatorRow.password_hash: new_hash}
    )
    statement = update(OperatorRow).where(*still_good).values(values).returning(OperatorRow.epoch)
    epoch: int | None = await session.scalar(statement.execution_options(synchronize_session=False))
    return epoch
