"""Every statement about sessions as our pages keep them."""

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.sessions.books import MEMBERS, Lifetime
from auth_service.sessions.page_tokens import PageToken
from auth_service.sessions.repository import is_live
from auth_service.sign_in.visitor import Visitor
from mis_models.accounts import RefreshTokenRow, SessionRow, UserRow
from mis_tenancy.tenant import Role


async def visit(session: AsyncSession, token: PageToken, lifetime: Lifetime) -> Visitor | None:
    """Return whose live session the token is, and note that it was used; None where it is nobody's."""
    own = select(RefreshTokenRow.session_id).where(
        RefreshTokenRow.id == token.id, RefreshTokenRow.token_hash == token.digest
    )
    used = (
        update(SessionRow)
        .where(SessionRow.id == own.scalar_subquery(), *is_live(MEMBERS, lifetime))
        .values(last_seen_at=func.statement_timestamp())
        .returning(SessionRow.id, SessionRow.user_id, SessionRow.restricted)
        .execution_options(synchronize_session=False)
    )
    found = (await session.execute(used)).one_or_none()
    if found is None:
        return None
    person = select(UserRow.email, UserRow.name, UserRow.role, UserRow.epoch).where(
        UserRow.id == found.user_id, UserRow.status == "active"
    )
    row = (await session.execute(person)).one_or_none()
    if row is None:
        return None
    user_id, session_id = UUID(int=found.user_id.int), UUID(int=found.id.int)
    return Visitor(session_id, user_id, row.email, row.name, Role(row.role), row.epoch, found.restricted)
