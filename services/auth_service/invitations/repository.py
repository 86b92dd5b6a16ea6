"""Every statement about invitations."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from mis_accounts.link_tokens import LinkToken
from mis_accounts.seats import release_held_seats
from mis_http.pages import Page
from mis_models.accounts import UserRow
from mis_models.links import InvitationRow
from mis_tenancy.session import PlatformSession, TenantSession

_UNIQUE_EMAIL: Final = "uq_invitations_tenant_id_email_norm"


async def is_member(session: TenantSession, email_norm: str) -> bool:
    """Return whether a user of the tenant has the address."""
    return await session.scalar(select(UserRow.id).where(UserRow.email_norm == email_norm)) is not None


async def add(session: TenantSession, row: InvitationRow) -> bool:
    """Insert the invitation; return False, the transaction then lost, where its address has one already."""
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        if _UNIQUE_EMAIL in str(error.orig):
            return False
        raise
    return True


async def page_of(session: TenantSession, page: Page) -> Sequence[InvitationRow]:
    """Return a page of the open invitations, one more than it holds where there is more."""
    statement = select(InvitationRow).where(InvitationRow.expires_at > func.statement_timestamp())
    return (await session.scalars(page.apply(statement, InvitationRow.id))).all()  # type: ignore[arg-type]  # the mapped column is the column


async def lock(session: TenantSession, invitation_id: UUID) -> InvitationRow | None:
    """Return the open invitation, held until the transaction ends, or None."""
    open_ = (InvitationRow.id == invitation_id, InvitationRow.expires_at > func.statement_timestamp())
    return await session.scalar(select(InvitationRow).where(*open_).with_for_update())


async def find(session: AsyncSession, token: LinkToken, *, lock: bool = False) -> InvitationRow | None:
    """Return the open invitation that the token opens, or None."""
    opened = (
        InvitationRow.id == token.id,
        InvitationRow.token_hash == token.digest,
        InvitationRow.expires_at > func.statement_timestamp(),
    )
    statement = select(InvitationRow).where(*opened)
    statement = statement.with_for_update() if lock else statement
    return await session.scalar(statement.execution_options(populate_existing=True))


async def remove(session: TenantSession, row: InvitationRow) -> None:
    """Delete the invitation; its seat is the caller's business."""
    await session.delete(row)
    await session.flush()


async def let_lapsed_go(session: TenantSession) -> int:
    """Delete the invitations that have run out, give their seats back, and return how many there were."""
    gone = delete(InvitationRow).where(InvitationRow.expires_at <= func.statement_timestamp())
    gone = gone.execution_options(synchronize_session=False)
    lapsed = list(await session.scalars(gone.returning(InvitationRow.user_id)))
    if seats := sum(user_id is None for user_id in lapsed):
        await release_held_seats(session, seats)
    return len(lapsed)


async def tenants_with_lapsed(session: PlatformSession, most: int) -> Sequence[UUID]:
    """Return up to `most` tenants that have invitations which have run out."""
    lapsed = select(InvitationRow.tenant_id).where(InvitationRow.expires_at <= func.statement_timestamp())
    return (await session.scalars(lapsed.distinct().limit(most))).all()


async def seat_waiting_user(
    session: TenantSession, user_id: UUID, *, name: str, password_hash: str, now: datetime
) -> UserRow | None:
    """Make the user who waited for an invitation an active one, and return the row; None if nobody waits."""
    waiting = (UserRow.id == user_id, UserRow.status == "invited")
    values = {"status": "active", "name": name, "password_hash": password_hash, "last_login_at": now}
    return await session.scalar(
        update(UserRow)
        .where(*waiting)
        .values(version=UserRow.version + 1, updated_at=now, **values)
        .returning(UserRow)
        .execution_options(synchronize_session=False)
    )
