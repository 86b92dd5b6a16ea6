"""Every statement about accounts as sign-in sees them."""

from dataclasses import dataclass, field, replace
from typing import Any, Self
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.accounts import UserRow
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import Role, Tenant, TenantStatus

_STANDING = (
    TenantRow.status,
    TenantRow.status_reason,
    TenantRow.status_since,
    TenantRow.purge_at,
    TenantRow.purging_since,
    TenantRow.epoch,
)


@dataclass(frozen=True, slots=True)
class Account:
    """A user as far as signing in needs."""

    id: UUID
    email: str
    name: str
    role: Role
    epoch: int
    is_active: bool
    password_hash: str | None = field(repr=False)

    @classmethod
    def of(cls, row: Row[*tuple[Any, ...]]) -> Self:
        """Return the account whose user is the row."""
        return cls(
            id=UUID(int=row.id.int),
            email=row.email,
            name=row.name,
            role=Role(row.role),
            epoch=row.epoch,
            is_active=row.status == "active",
            password_hash=row.password_hash,
        )


_ACCOUNT = (
    UserRow.id,
    UserRow.email,
    UserRow.name,
    UserRow.role,
    UserRow.status,
    UserRow.epoch,
    UserRow.password_hash,
)


async def find_account(session: AsyncSession, email_norm: str) -> Account | None:
    """Return the account of an address in the session's tenant; a session without a tenant sees none."""
    row = (await session.execute(select(*_ACCOUNT).where(UserRow.email_norm == email_norm))).one_or_none()
    return None if row is None else Account.of(row)


async def find_by_id(session: AsyncSession, user_id: UUID) -> Account | None:
    """Return the account of a user of the session's tenant."""
    row = (await session.execute(select(*_ACCOUNT).where(UserRow.id == user_id))).one_or_none()
    return None if row is None else Account.of(row)


async def hold_password(session: AsyncSession, account: Account) -> bool:
    """Let nobody change the account's password until the transaction ends; return False where they have."""
    held = select(UserRow.id).where(*_as_verified(account)).with_for_update(read=True)
    return await session.scalar(held) is not None


async def mark_signed_in(session: AsyncSession, account: Account, new_hash: str | None) -> Account | None:
    """Note that the account has signed in, and return it as it is now.

    Return None where it was disabled, or got another password, since its password was verified.
    """
    values = {"last_login_at": func.statement_timestamp()}
    if new_hash is not None:
        values["password_hash"] = new_hash  # type: ignore[assignment]  # a text beside a function
    statement = update(UserRow).where(*_as_verified(account)).values(values).returning(*_ACCOUNT)
    row = (await session.execute(statement.execution_options(synchronize_session=False))).one_or_none()
    return None if row is None else Account.of(row)


async def as_it_stands(session: AsyncSession, tenant: Tenant) -> Tenant:
    """Return the tenant with status and epoch from the database, which a cache may trail by a moment."""
    row = (await session.execute(select(*_STANDING).where(TenantRow.id == tenant.id))).one()
    return replace(
        tenant,
        status=TenantStatus(row.status),
        status_reason=row.status_reason,
        status_since=row.status_since,
        purge_at=row.purge_at,
        is_purging=row.purging_since is not None,
        epoch=row.epoch,
    )


def _as_verified(account: Account) -> tuple[ColumnElement[bool], ...]:
    return (
        UserRow.id == account.id,
        UserRow.status == "active",
        UserRow.password_hash == account.password_hash,
    )
