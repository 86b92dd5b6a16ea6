"""Every statement about sessions as their holders see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import ColumnElement

from auth_service.caller import Caller
from auth_service.sessions.books import AnySessionRow, Book, Lifetime
from auth_service.sessions.refresh_tokens import RefreshToken
from mis_http.pages import Page
from mis_models.accounts import UserRow
from mis_tenancy.identifiers import new_id


async def add(
    session: AsyncSession,
    book: Book,
    holder_id: UUID,
    token: RefreshToken,
    lifetime: Lifetime,
    caller: Caller,
    now: datetime,
    **columns: Any,
) -> UUID:
    """Insert a session with its first refresh token, and return the session's id."""
    row = book.sessions(
        id=new_id(),
        ip=caller.address,
        user_agent=caller.user_agent,
        created_at=now,
        last_seen_at=now,
        expires_at=now + lifetime.absolute,
        **{book.holder.key: holder_id},
        **columns,
    )
    session.add(row)
    await session.flush()
    session.add(
        book.tokens(id=token.id, session_id=row.id, token_hash=token.digest, state="current", created_at=now)
    )
    await session.flush()
    session_id: UUID = row.id
    return session_id


async def find(session: AsyncSession, book: Book, session_id: UUID) -> AnySessionRow | None:
    """Return the session, whatever its state, or None."""
    found: AnySessionRow | None = await session.scalar(
        select(book.sessions).where(book.sessions.id == session_id)
    )
    return found


async def page_of(
    session: AsyncSession, book: Book, holder_id: UUID, lifetime: Lifetime, page: Page
) -> Sequence[AnySessionRow]:
    """Return a page of the holder's live sessions, one more than it holds where there is more."""
    live = (book.holder == holder_id, *is_live(book, lifetime))
    statement = select(book.sessions).where(*live)
    return (await session.scalars(page.apply(statement, book.sessions.id))).all()


async def end(session: AsyncSession, book: Book, *conditions: ColumnElement[bool], reason: str) -> list[UUID]:
    """Mark the sessions that meet all `conditions`, and have not ended yet, as revoked; return their ids."""
    ended = await session.scalars(
        update(book.sessions)
        .where(book.sessions.revoked_at.is_(None), *conditions)
        .values(revoked_at=func.statement_timestamp(), revoked_reason=reason)
        .returning(book.sessions.id)
        .execution_options(synchronize_session=False)
    )
    return list(ended)


async def end_beyond(
    session: AsyncSession, book: Book, holder_id: UUID, lifetime: Lifetime, most: int
) -> list[UUID]:
    """End the holder's oldest live sessions, so that `most` are left; return the ids of those ended."""
    live = (book.holder == holder_id, *is_live(book, lifetime))
    newest_first = select(book.sessions.id).where(*live).order_by(book.sessions.id.desc())
    beyond = newest_first.offset(most).scalar_subquery()
    return await end(session, book, book.sessions.id.in_(beyond), reason="displaced")


def is_own(book: Book, session_id: UUID, holder_id: UUID) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which a session is this one, and the holder's."""
    return book.sessions.id == session_id, book.holder == holder_id


def is_another(book: Book, session_id: UUID | None, holder_id: UUID) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which a session is the holder's, and not this one."""
    return book.sessions.id != session_id, book.holder == holder_id


async def holder_of_token(session: AsyncSession, book: Book, token: RefreshToken) -> tuple[UUID, UUID] | None:
    """Return the session of a refresh token and its holder, whatever the state of either, or None."""
    found = await session.execute(
        select(book.sessions.id, book.holder)
        .join(book.tokens, book.tokens.session_id == book.sessions.id)
        .where(book.tokens.id == token.id, book.tokens.token_hash == token.digest)
    )
    row = found.one_or_none()
    return None if row is None else (row[0], row[1])


async def find_user(session: AsyncSession, user_id: UUID) -> tuple[str, str] | None:
    """Return the user's address and name, or None."""
    row = (
        await session.execute(select(UserRow.email, UserRow.name).where(UserRow.id == user_id))
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def is_live(book: Book, lifetime: Lifetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which a session has not ended."""
    now = func.statement_timestamp()
    return (
        book.sessions.revoked_at.is_(None),
        book.sessions.expires_at > now,
        book.sessions.created_at > now - lifetime.absolute,
        book.sessions.last_seen_at > now - lifetime.idle,
    )
