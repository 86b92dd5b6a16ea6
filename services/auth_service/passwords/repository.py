"""Every statement about passwords."""

from typing import Final
from uuid import UUID

from sqlalchemy import Row, func, select, update

from mis_accounts.account_links import opened_by
from mis_accounts.link_tokens import LinkToken
from mis_models.accounts import UserRow
from mis_models.links import AccountTokenRow
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow

_MAY_RESET: Final = ("active", "invited")


async def find(session: TenantSession, user_id: UUID) -> Row[str, str, str | None] | None:
    """Return the active user's normalised address, name and hash, or None."""
    columns = select(UserRow.email_norm, UserRow.name, UserRow.password_hash)
    active = columns.where(UserRow.id == user_id, UserRow.status == "active")
    return (await session.execute(active)).one_or_none()


async def replace_hash(
    session: TenantSession, user_id: UUID, old: str | None, new: str
) -> Row[str, str] | None:
    """Replace the user's hash and return their address and name, or None where it was not the old one."""
    statement = (
        update(UserRow)
        .where(UserRow.id == user_id, UserRow.status == "active", UserRow.password_hash == old)
        .values(password_hash=new, version=UserRow.version + 1, updated_at=func.statement_timestamp())
        .returning(UserRow.email, UserRow.name)
        .execution_options(synchronize_session=False)
    )
    return (await session.execute(statement)).one_or_none()


async def addressee(session: TenantSession, email_norm: str) -> Row[UUID, str, str, str] | None:
    """Return id, email, name and `tenant`, what the tenant calls itself, of who may get a link, or None.

    That is an active user, or one who waits for an invitation: the mail proves as much as that would.
    """
    columns = select(UserRow.id, UserRow.email, UserRow.name, TenantRow.name.label("tenant"))
    found = columns.join(TenantRow, TenantRow.id == UserRow.tenant_id).where(
        UserRow.email_norm == email_norm, UserRow.status.in_(_MAY_RESET)
    )
    return (await session.execute(found)).one_or_none()


async def holder_of_link(session: TenantSession, token: LinkToken) -> Row[str, str] | None:
    """Return the normalised address and the name of the user whose password the link opens, or None."""
    columns = select(UserRow.email_norm, UserRow.name).join(
        AccountTokenRow, AccountTokenRow.user_id == UserRow.id
    )
    return (await session.execute(columns.where(*opened_by(token)))).one_or_none()


async def reset_hash(session: TenantSession, user_id: UUID, password_hash: str) -> Row[str, str, str] | None:
    """Give the user a new hash, and let one who waited in.

    Return their address, as it is compared too, and their name; None where there is nobody.
    """
    statement = (
        update(UserRow)
        .where(UserRow.id == user_id, UserRow.status.in_(_MAY_RESET))
        .values(
            password_hash=password_hash,
            status="active",
            version=UserRow.version + 1,
            updated_at=func.statement_timestamp(),
        )
        .returning(UserRow.email, UserRow.email_norm, UserRow.name)
        .execution_options(synchronize_session=False)
    )
    return (await session.execute(statement)).one_or_none()
