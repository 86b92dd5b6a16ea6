"""The rules of one's own sessions: what they are, and how they end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.errors import SessionNotFound
from auth_service.operators.repository import find_operator
from auth_service.sessions import repository
from auth_service.sessions.books import (
    OPERATORS_LIFETIME,
    AnySessionRow,
    Book,
    Lifetime,
    lifetime_in,
    place_of,
)
from auth_service.sessions.page_tokens import new_page_token
from auth_service.sessions.refresh_tokens import RefreshToken, new_refresh_token
from mis_http.pages import Page
from mis_tenancy.errors import TokenRevoked
from mis_tenancy.identifiers import new_id
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.tenant import Principal, Tenant

MOST_SESSIONS: Final = 100


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session and the refresh token that keeps it going."""

    id: UUID
    refresh_token: RefreshToken


@dataclass(frozen=True, slots=True)
class Person:
    """Who the caller is, to themselves."""

    id: UUID
    email: str
    name: str


async def open_session(
    session: AsyncSession,
    book: Book,
    holder_id: UUID,
    tenant_id: UUID | None,
    lifetime: Lifetime,
    caller: Caller,
    now: datetime,
    **columns: Any,
) -> Opened:
    """Start a session of the holder; its id is new, whatever the client held before.

    Whoever has as many as one may have loses the oldest: a program that signs in for each request must
    neither fill the table nor shut its owner out.
    """
    token = new_page_token(tenant_id) if caller.keeps_cookie else new_refresh_token(tenant_id)
    session_id = await repository.add(session, book, holder_id, token, lifetime, caller, now, **columns)
    announce_end(
        session, tenant_id, await repository.end_beyond(session, book, holder_id, lifetime, MOST_SESSIONS)
    )
    return Opened(session_id, token)


def announce_end(session: AsyncSession, tenant_id: UUID | None, ended: Sequence[UUID]) -> None:
    """Add the news that sessions have ended, for every process to refuse their access tokens."""
    for session_id in ended:
        revoke(session, Kind.SESSION, session_id, tenant_id=tenant_id)


class OwnSessions:
    """The sessions of the caller `principal`."""

    def __init__(
        self, authority: Authority, principal: Principal, tenant: Tenant | None, caller: Caller
    ) -> None:
        self._authority = authority
        self._principal = principal
        self._caller = caller
        self._book, self._tenant_id = place_of(principal)
        visits = self._tenant_id is None or tenant is None
        self._lifetime = OPERATORS_LIFETIME if visits or tenant is None else lifetime_in(tenant)

    async def page(self, page: Page) -> Sequence[AnySessionRow]:
        """Return a page of the live ones, one more than it holds where there is more."""
        async with self._authority.transaction(self._tenant_id) as session:
            return await repository.page_of(session, self._book, self._principal.id, self._lifetime, page)

    async def current(self) -> tuple[Person, AnySessionRow]:
        """Return the caller and the access token's session; raise TokenRevoked where either is gone."""
        async with self._authority.transaction(self._tenant_id) as session:
            row = await repository.find(session, self._book, self._principal.session_id or new_id())
            person = await self._person(session)
        if row is None or person is None:
            raise TokenRevoked
        return person, row

    async def end(self, session_id: UUID) -> None:
        """End one of them; raise SessionNotFound where the caller has no such live one."""
        async with self._authority.transaction(self._tenant_id) as session:
            own = repository.is_own(self._book, session_id, self._principal.id)
            ended = await repository.end(session, self._book, *own, reason="revoked")
            if not ended:
                raise SessionNotFound
            self._note(session, ended)

    async def end_others(self) -> None:
        """End all but the one the access token belongs to."""
        async with self._authority.transaction(self._tenant_id) as session:
            others = repository.is_another(self._book, self._principal.session_id, self._principal.id)
            self._note(session, await repository.end(session, self._book, *others, reason="revoked"))

    async def _person(self, session: AsyncSession) -> Person | None:
        find = find_operator if self._tenant_id is None else repository.find_user
        found = await find(session, self._principal.id)
        return None if found is None else Person(self._principal.id, *found)

    def _note(self, session: AsyncSession, ended: Sequence[UUID]) -> None:
        announce_end(session, self._tenant_id, ended)
        for session_id in ended:
            record(
                session,
                self._tenant_id,
                "session.revoked",
                self._caller,
                kind="change",
                actor=self._principal.id,
                resource=f"session:{session_id}",
            )
