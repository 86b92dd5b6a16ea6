"""Every statement about passwords."""

from uuid import UUID

from sqlalchemy import Row, func, select, update

from mis_models.accounts import UserRow
from mis_tenancy.session import TenantSession


async def find(session: TenantSession, user_id: UUID) -> Row[str, str, str | None] | None:
    """Return the active user's normalised address, name and hash, or None."""
    columns = select(UserRow.email_norm, UserRow.name, UserRow.password_hash)
    active = columns.where(UserRow.id == user_id, UserRow.status == "active")
    return (await session.execute(active)).one_or_none()


async def replace_hash(session: TenantSession, user_id: UUID, old: str | None, new: str) -> bool:
    """Replace the user's hash; return whether it still was the old one."""
    statement = (
        update(UserRow)
        .where(UserRow.id == user_id, UserRow.status == "active", UserRow.password_hash == old)
        .values(password_hash=new, version=UserRow.version + 1, updated_at=func.statement_timestamp())
        .returning(UserRow.id)
        .execution_options(synchronize_session=False)
    )
    return (await session.scalar(statement)) is not None
