"""Every statement about second factors that an operator was told are lost."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, delete, func, select, update

from auth_service.mfa.repository import drop_recovery_codes
from mis_models.accounts import UserRow
from mis_models.factors import TotpFactorRow
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Role

_NO_MORE: Final = {"synchronize_session": False}
# Each owner hears of it; a tenant with more of them than this has somebody else to ask.
_MOST_OWNERS: Final = 20


async def begin(session: TenantSession, email_norm: str, reset_at: datetime) -> UUID | None:
    """Let the app of the active owner with the address go at `reset_at`; return whose, None if nobody's."""
    owner = select(UserRow.id).where(
        UserRow.email_norm == email_norm, UserRow.role == Role.OWNER, UserRow.status == "active"
    )
    begun = (
        update(TotpFactorRow)
        .where(TotpFactorRow.user_id == owner.scalar_subquery(), TotpFactorRow.confirmed_at.is_not(None))
        .values(reset_at=reset_at)
        .returning(TotpFactorRow.user_id)
    )
    return await session.scalar(begun.execution_options(**_NO_MORE))


async def owners(session: TenantSession) -> Sequence[Row[str, str]]:
    """Return address and name of the tenant's active owners."""
    active = (UserRow.role == Role.OWNER, UserRow.status == "active")
    columns = select(UserRow.email, UserRow.name).where(*active).order_by(UserRow.id)
    return (await session.execute(columns.limit(_MOST_OWNERS))).all()


async def take_effect(session: TenantSession, user_id: UUID) -> bool:
    """Delete the user's app and recovery codes if a reset of them is due; return whether one was."""
    due: tuple[Any, ...] = (
        TotpFactorRow.user_id == user_id,
        TotpFactorRow.reset_at <= func.statement_timestamp(),
    )
    gone = delete(TotpFactorRow).where(*due).returning(TotpFactorRow.user_id)
    found = await session.scalar(gone.execution_options(**_NO_MORE)) is not None
    if found:
        await drop_recovery_codes(session, user_id)
    return found


async def call_off(session: TenantSession, user_id: UUID) -> bool:
    """Let the user keep their app; return whether a reset of it had begun."""
    begun = (TotpFactorRow.user_id == user_id, TotpFactorRow.reset_at.is_not(None))
    kept = update(TotpFactorRow).where(*begun).values(reset_at=None).returning(TotpFactorRow.user_id)
    return await session.scalar(kept.execution_options(**_NO_MORE)) is not None
