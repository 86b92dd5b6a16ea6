"""Every statement about second factors."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.accounts import UserRow
from mis_models.factors import RecoveryCodeRow, TotpFactorRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession, tenant_of


async def find(session: AsyncSession, user_id: UUID) -> TotpFactorRow | None:
    """Return the user's confirmed authenticator app, or None."""
    return await session.scalar(select(TotpFactorRow).where(*_confirmed(user_id)))


async def hold_pending(session: TenantSession, user_id: UUID) -> TotpFactorRow | None:
    """Return the authenticator app that waits to be confirmed, held until the transaction ends, or None."""
    pending = (TotpFactorRow.user_id == user_id, TotpFactorRow.confirmed_at.is_(None))
    return await session.scalar(select(TotpFactorRow).where(*pending).with_for_update())


async def put_pending(session: TenantSession, user_id: UUID, secret: bytes, now: datetime) -> bool:
    """Store a secret that waits to be confirmed, in place of one before; return False where one is set."""
    values = {"secret": secret, "created_at": now, "last_step": None}
    statement = (
        insert(TotpFactorRow)
        .values(tenant_id=tenant_of(session), user_id=user_id, **values)
        .on_conflict_do_update(
            index_elements=["tenant_id", "user_id"], set_=values, where=TotpFactorRow.confirmed_at.is_(None)
        )
        .returning(TotpFactorRow.user_id)
    )
    return await session.scalar(statement) is not None


async def use_step(session: AsyncSession, user_id: UUID, step: int) -> bool:
    """Use the code of a step up, and those of all steps before; return False where that had happened."""
    unused = or_(TotpFactorRow.last_step.is_(None), TotpFactorRow.last_step < step)
    used = update(TotpFactorRow).where(*_confirmed(user_id), unused).values(last_step=step)
    used = used.returning(TotpFactorRow.user_id).execution_options(synchronize_session=False)
    return await session.scalar(used) is not None


async def use_recovery_code(session: AsyncSession, user_id: UUID, digest: bytes) -> bool:
    """Use a recovery code up; return False where there is no such code, or not any more."""
    own = (RecoveryCodeRow.user_id == user_id, RecoveryCodeRow.code_hash == digest)
    used = delete(RecoveryCodeRow).where(*own).returning(RecoveryCodeRow.id)
    return await session.scalar(used.execution_options(synchronize_session=False)) is not None


async def remove(session: TenantSession, user_id: UUID) -> bool:
    """Delete the user's authenticator app and recovery codes; return whether there was a confirmed one."""
    gone = delete(TotpFactorRow).where(*_confirmed(user_id)).returning(TotpFactorRow.user_id)
    found = await session.scalar(gone.execution_options(synchronize_session=False)) is not None
    if found:
        await drop_recovery_codes(session, user_id)
    return found


async def drop_recovery_codes(session: TenantSession, user_id: UUID) -> None:
    """Make all recovery codes of the user worthless."""
    own = delete(RecoveryCodeRow).where(RecoveryCodeRow.user_id == user_id)
    await session.execute(own.execution_options(synchronize_session=False))


def add_recovery_codes(
    session: TenantSession, user_id: UUID, digests: Sequence[bytes], now: datetime
) -> None:
    """Add recovery codes by their digests."""
    session.add_all(
        RecoveryCodeRow(id=new_id(), user_id=user_id, code_hash=digest, created_at=now) for digest in digests
    )


async def recovery_codes_left(session: AsyncSession, user_id: UUID) -> int:
    """Return how many recovery codes the user has."""
    own = select(func.count()).select_from(RecoveryCodeRow).where(RecoveryCodeRow.user_id == user_id)
    return await session.scalar(own) or 0


async def person(session: TenantSession, user_id: UUID) -> Row[str, str, str, str | None] | None:
    """Return email, name, role and password hash of the user, or None."""
    columns = select(UserRow.email, UserRow.name, UserRow.role, UserRow.password_hash)
    return (await session.execute(columns.where(UserRow.id == user_id))).one_or_none()


def _confirmed(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return TotpFactorRow.user_id == user_id, TotpFactorRow.confirmed_at.is_not(None)
