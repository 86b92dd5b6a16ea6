"""Every statement that exchanges refresh tokens.

The usual exchange is one statement. It locks the session first and its tokens after, as everything here does,
so that parallel exchanges wait for one another and never in a circle. The unusual ones take several
statements, because what a competitor has inserted meanwhile shows only to a statement that begins after the
lock was gained.

An INSERT of a select returns something even where nobody reads it: Citus would carry the rows of one that
returns nothing by COPY, which row-level security refuses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, TextClause, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.sessions.books import MEMBERS, OPERATORS, Book, Lifetime
from auth_service.sessions.refresh_tokens import RefreshToken
from mis_models.accounts import UserRow
from mis_models.platform import OperatorRow
from mis_tenancy.tables import TenantRow

# Each table is compared with the tenant by hand; the policies compare it again.
_UNSCOPED: Final = {"unscoped": True}

_ROTATE: Final = """
with family as (
    select s.id, s.{holder} as holder_id, {restricted} as restricted
      from {sessions} s
     where {own_s} s.id = (select t.session_id from {tokens} t
                            where {own_t} t.id = :id and t.token_hash = :digest and t.state = 'current')
       and s.revoked_at is null and s.expires_at > statement_timestamp()
       and s.created_at > statement_timestamp() - cast(:absolute as interval)
       and s.last_seen_at > statement_timestamp() - cast(:idle as interval)
       for update
), rotated as (
    update {tokens} t set state = 'rotated', rotated_at = statement_timestamp(), successor_id = :successor
      from family
     where {own_t} t.id = :id and t.state = 'current'
 returning t.session_id
), seen as (
    update {sessions} s set last_seen_at = statement_timestamp()
      from rotated where {own_s} s.id = rotated.session_id
), issued as (
    insert into {tokens} ({tenant_column} id, session_id, token_hash, state, created_at)
    select {tenant_value} cast(:successor as uuid), session_id, cast(:successor_digest as bytea), 'current',
           statement_timestamp()
      from rotated
 returning id
)
select family.id as session_id, family.restricted, {standing}
  from family join rotated on rotated.session_id = family.id
  join {holders}
"""

_ROTATE_MEMBERS: Final = _ROTATE.format(
    sessions="sessions",
    tokens="refresh_tokens",
    holder="user_id",
    restricted="s.restricted",
    own_s="s.tenant_id = :tenant_id and",
    own_t="t.tenant_id = :tenant_id and",
    tenant_column="tenant_id,",
    tenant_value="cast(:tenant_id as uuid),",
    standing="u.id, u.role, u.status, u.epoch, n.status as tenant_status, n.status_reason, n.status_since, "
    "n.purge_at, n.purging_since, n.epoch as tenant_epoch",
    holders="users u on u.tenant_id = :tenant_id and u.id = family.holder_id "
    "join tenants n on n.id = :tenant_id",
)
_ROTATE_OPERATORS: Final = _ROTATE.format(
    sessions="operator_sessions",
    tokens="operator_refresh_tokens",
    holder="operator_id",
    restricted="false",
    own_s="",
    own_t="",
    tenant_column="",
    tenant_value="",
    standing="o.id, o.status, o.epoch",
    holders="operators o on o.id = family.holder_id",
)
_STATEMENTS: Final[Mapping[Book, TextClause]] = {
    MEMBERS: text(_ROTATE_MEMBERS),
    OPERATORS: text(_ROTATE_OPERATORS),
}


AnyRow = Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Presented:
    """A refresh token as the database knows it, its session locked until the transaction ends."""

    session_id: UUID
    holder_id: UUID
    state: str
    is_revoked: bool
    is_lapsed: bool
    is_in_grace: bool
    successor_id: UUID | None
    successor_state: str | None


async def rotate(
    session: AsyncSession, book: Book, token: RefreshToken, successor: RefreshToken, lifetime: Lifetime
) -> AnyRow | None:
    """Exchange a current token of a live session; return the session and its holder's standing.

    Return None, with nothing changed, where the token is anything else.
    """
    parameters = {
        "id": token.id,
        "digest": token.digest,
        "successor": successor.id,
        "successor_digest": successor.digest,
        "idle": lifetime.idle,
        "absolute": lifetime.absolute,
    }
    if token.tenant_id is not None:
        parameters["tenant_id"] = token.tenant_id
    return (await session.execute(_STATEMENTS[book], parameters, execution_options=_UNSCOPED)).one_or_none()


async def present(
    session: AsyncSession, book: Book, token: RefreshToken, lifetime: Lifetime, grace: timedelta
) -> Presented | None:
    """Lock the token's session and return what the token is by then, or None where there is no such token."""
    sessions, tokens, now = book.sessions, book.tokens, func.statement_timestamp()
    owner = select(tokens.session_id).where(tokens.id == token.id, tokens.token_hash == token.digest)
    locked = await session.scalar(
        select(sessions.id).where(sessions.id == owner.scalar_subquery()).with_for_update()
    )
    if locked is None:
        return None
    is_live = (
        (sessions.expires_at > now)
        & (sessions.created_at > now - lifetime.absolute)
        & (sessions.last_seen_at > now - lifetime.idle)
    )
    row = await session.execute(
        select(
            sessions.id.label("session_id"),
            book.holder.label("holder_id"),
            tokens.state,
            sessions.revoked_at.is_not(None).label("is_revoked"),
            (~is_live).label("is_lapsed"),
            func.coalesce(tokens.rotated_at > now - grace, False).label("is_in_grace"),
            tokens.successor_id,
        )
        .join(tokens, tokens.session_id == sessions.id)
        .where(tokens.id == token.id)
    )
    known = row.one()
    successor = await session.scalar(select(tokens.state).where(tokens.id == known.successor_id))
    return Presented(**known._asdict(), successor_state=successor)


async def replace_successor(
    session: AsyncSession, book: Book, token: RefreshToken, presented: Presented, successor: RefreshToken
) -> None:
    """Void the unused successor of a token and give it another one."""
    sessions, tokens, now = book.sessions, book.tokens, func.statement_timestamp()
    quietly = {"synchronize_session": False}
    await session.execute(
        update(tokens).where(tokens.id == presented.successor_id).values(state="void"),
        execution_options=quietly,
    )
    await session.execute(
        update(tokens).where(tokens.id == token.id).values(successor_id=successor.id),
        execution_options=quietly,
    )
    await session.execute(
        update(sessions).where(sessions.id == presented.session_id).values(last_seen_at=now),
        execution_options=quietly,
    )
    session.add(
        tokens(
            id=successor.id,
            session_id=presented.session_id,
            token_hash=successor.digest,
            state="current",
            created_at=now,
        )
    )
    await session.flush()


async def standing(session: AsyncSession, book: Book, presented: Presented, tenant_id: UUID | None) -> AnyRow:
    """Return what `rotate` returns, for a session that was presented."""
    if book is OPERATORS:
        holder = select(
            book.sessions.id.label("session_id"), OperatorRow.id, OperatorRow.status, OperatorRow.epoch
        ).join(OperatorRow, OperatorRow.id == book.holder)
        return (await session.execute(holder.where(book.sessions.id == presented.session_id))).one()
    columns = select(
        book.sessions.id.label("session_id"),
        book.sessions.restricted,
        UserRow.id,
        UserRow.role,
        UserRow.status,
        UserRow.epoch,
        TenantRow.status.label("tenant_status"),
        TenantRow.status_reason,
        TenantRow.status_since,
        TenantRow.purge_at,
        TenantRow.purging_since,
        TenantRow.epoch.label("tenant_epoch"),
    )
    member = columns.join(UserRow, UserRow.id == book.holder).join(TenantRow, TenantRow.id == tenant_id)
    return (await session.execute(member.where(book.sessions.id == presented.session_id))).one()
