"""Every statement about verifications."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select, update

from mis_http.pages import Page
from mis_models.accounts import UserRow
from mis_models.verifications import VerificationRow
from mis_tenancy.session import PlatformSession, TenantSession

_QUIETLY: Final = {"synchronize_session": False}


async def page(session: TenantSession, user_id: UUID, asked: Page) -> Sequence[VerificationRow]:
    """Return a page of the user's verifications, and one more where there is more."""
    statement = select(VerificationRow).where(VerificationRow.user_id == user_id)
    statement = asked.apply(statement, VerificationRow.id)  # type: ignore[arg-type]  # the mapped column is the column
    return (await session.scalars(statement)).all()


async def find(session: TenantSession, user_id: UUID, verification_id: UUID) -> VerificationRow | None:
    """Return the user's verification, or None."""
    own = (VerificationRow.id == verification_id, VerificationRow.user_id == user_id)
    return await session.scalar(select(VerificationRow).where(*own))


async def lock_pending(session: TenantSession, verification_id: UUID) -> VerificationRow | None:
    """Return the verification, held, if nobody has judged it yet."""
    pending = (VerificationRow.id == verification_id, VerificationRow.status == "pending")
    return await session.scalar(select(VerificationRow).where(*pending).with_for_update())


async def name_of(session: TenantSession, user_id: UUID) -> str:
    """Return the user's name."""
    return (await session.scalars(select(UserRow.name).where(UserRow.id == user_id))).one()


async def with_pictures(session: TenantSession, user_id: UUID) -> Sequence[UUID]:
    """Return the ids of the user's verifications whose pictures are still kept."""
    kept = (VerificationRow.user_id == user_id, VerificationRow.image_until.is_not(None))
    return (await session.scalars(select(VerificationRow.id).where(*kept))).all()


async def overdue(session: PlatformSession, now: datetime, most: int) -> Sequence[tuple[UUID, UUID]]:
    """Return tenant and id of verifications whose pictures have been kept long enough."""
    columns = select(VerificationRow.tenant_id, VerificationRow.id).where(VerificationRow.image_until < now)
    found = await session.execute(columns.order_by(VerificationRow.image_until).limit(most))
    return [(row.tenant_id, row.id) for row in found]


async def forget_picture(session: TenantSession, verification_id: UUID) -> None:
    """Destroy the key of the picture, which nobody can open from then on."""
    forgotten = update(VerificationRow).where(VerificationRow.id == verification_id)
    values = {"image_key": None, "image_until": None}
    await session.execute(forgotten.values(values).execution_options(**_QUIETLY))
