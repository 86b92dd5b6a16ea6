"""Where kept answers lie: a tenant's under the tenant's key, an operator's under the master key."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import class_mapper

from mis_models.tenants import IdempotencyRow, PlatformIdempotencyRow
from mis_tenancy.encryption import TenantKeys, Wrapping
from mis_tenancy.session import PlatformSession, TenantSession

KEPT_FOR: Final = timedelta(hours=24)
LEASE: Final = timedelta(seconds=60)

Row = IdempotencyRow | PlatformIdempotencyRow


class KeptAnswer(msgspec.Struct, frozen=True):
    """An answer as it is kept: what is needed to give it again."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class KeyOfRequest:
    """What makes two requests the same try: who asked, for what, under which key."""

    principal_id: UUID
    method: str
    path: str
    key: str
    fingerprint: bytes

    def columns(self) -> dict[str, Any]:
        """Return the identifying columns, without the fingerprint."""
        return {"principal_id": self.principal_id, "method": self.method, "path": self.path, "key": self.key}


class AnswerStore(ABC):
    """Leases keys and keeps answers; `seal` and `open` come from the two kinds below."""

    table: type[IdempotencyRow] | type[PlatformIdempotencyRow]

    async def lease(self, session: AsyncSession, request: KeyOfRequest, now: datetime) -> Row | None:
        """Take the key and return None, or return the row that holds it; one kept long enough is free."""
        fresh = {
            "fingerprint": request.fingerprint,
            "state": "running",
            "leased_until": now + LEASE,
            "created_at": now,
        }
        take = insert(self.table).values(request.columns() | fresh)
        take = take.on_conflict_do_update(
            index_elements=class_mapper(self.table).primary_key,
            set_=fresh | {"answer_status": None, "answer": None} | self.told_of(None),
            where=self.table.created_at < now - KEPT_FOR,
        )
        if await session.scalar(take.returning(self.table.key)) is not None:
            return None
        held: Row | None = await session.scalar(select(self.table).where(*self._same(request)))
        return held

    async def take_over(self, session: AsyncSession, request: KeyOfRequest, now: datetime) -> bool:
        """Take a key whose holder's lease has run out; return whether this caller was the one to get it."""
        expired = (self.table.state == "running", self.table.leased_until < now)
        statement = update(self.table).where(*self._same(request), *expired).values(leased_until=now + LEASE)
        return await self._touched(session, statement)

    async def prolong(self, session: AsyncSession, request: KeyOfRequest, now: datetime) -> None:
        """Push a running request's lease further out."""
        await session.execute(
            update(self.table)
            .where(*self._same(request), self.table.state == "running")
            .values(leased_until=now + LEASE)
        )

    async def keep(
        self, session: Any, request: KeyOfRequest, answer: KeptAnswer, tenant_id: UUID | None
    ) -> None:
        """Keep the answer in the transaction of its effect; `tenant_id` is the tenant that it tells of."""
        sealed = await self.seal(session, request, msgspec.msgpack.encode(answer))
        await session.execute(
            update(self.table)
            .where(*self._same(request))
            .values(state="answered", answer_status=answer.status, answer=sealed, **self.told_of(tenant_id))
        )

    async def release(self, session: AsyncSession, request: KeyOfRequest) -> None:
        """Free a key whose request left no answer to keep."""
        await session.execute(delete(self.table).where(*self._same(request), self.table.state == "running"))

    async def kept(self, session: Any, request: KeyOfRequest, row: Row) -> KeptAnswer:
        """Return the answer that `row` keeps."""
        return msgspec.msgpack.decode(await self.open(session, request, row.answer or b""), type=KeptAnswer)

    @abstractmethod
    def told_of(self, tenant_id: UUID | None) -> dict[str, Any]:
        """Return the column that says which tenant an answer tells of, where that is not its owner anyway."""

    @abstractmethod
    async def seal(self, session: Any, request: KeyOfRequest, plaintext: bytes) -> bytes:
        """Encrypt an answer so that only a repetition of `request` opens it."""

    @abstractmethod
    async def open(self, session: Any, request: KeyOfRequest, ciphertext: bytes) -> bytes:
        """Decrypt an answer kept for `request`."""

    async def _touched(self, session: AsyncSession, statement: Any) -> bool:
        return await session.scalar(statement.returning(self.table.key)) is not None

    def _same(self, request: KeyOfRequest) -> list[Any]:
        return [getattr(self.table, name) == value for name, value in request.columns().items()]


class TenantAnswers(AnswerStore):
    """A tenant's answers, under the tenant's data key: they end with it when the tenant is purged."""

    table = IdempotencyRow

    def __init__(self, keys: TenantKeys) -> None:
        self._keys = keys

    def told_of(self, tenant_id: UUID | None) -> dict[str, Any]:
        """Return nothing, as the row is the tenant's."""
        return {}

    async def seal(self, session: TenantSession, request: KeyOfRequest, plaintext: bytes) -> bytes:
        """Encrypt under the tenant's current key."""
        return (await self._keys.current(session)).encrypt(plaintext, _purpose(request))

    async def open(self, session: TenantSession, request: KeyOfRequest, ciphertext: bytes) -> bytes:
        """Decrypt under the key that sealed it."""
        return await self._keys.decrypt(session, ciphertext, _purpose(request))


class PlatformAnswers(AnswerStore):
    """Operators' answers, under the master key; the key's id leads the ciphertext."""

    table = PlatformIdempotencyRow

    def __init__(self, wrapping: Wrapping) -> None:
        self._wrapping = wrapping

    def told_of(self, tenant_id: UUID | None) -> dict[str, Any]:
        """Return the column by which a purge finds the answer."""
        return {"tenant_id": tenant_id}

    async def seal(self, session: PlatformSession, request: KeyOfRequest, plaintext: bytes) -> bytes:
        """Encrypt under the current master key."""
        sealed, key_id = self._wrapping.wrap(plaintext, _purpose(request))
        return msgspec.msgpack.encode((key_id, sealed))

    async def open(self, session: PlatformSession, request: KeyOfRequest, ciphertext: bytes) -> bytes:
        """Decrypt under the master key that sealed it."""
        key_id, sealed = msgspec.msgpack.decode(ciphertext, type=tuple[str, bytes])
        return self._wrapping.unwrap(sealed, key_id, _purpose(request))

    def rewrapped(self, request: KeyOfRequest, ciphertext: bytes) -> bytes:
        """Return an answer kept for `request` under the current master key; raise Undecryptable."""
        key_id, sealed = msgspec.msgpack.decode(ciphertext, type=tuple[str, bytes])
        sealed, key_id = self._wrapping.rewrap(sealed, key_id, _purpose(request))
        return msgspec.msgpack.encode((key_id, sealed))

    @staticmethod
    def mark_of(key_id: str) -> bytes:
        """Return how every answer under the master key `key_id` begins."""
        return b"\x92" + msgspec.msgpack.encode(key_id)


def _purpose(request: KeyOfRequest) -> str:
    return f"answer:{request.principal_id}:{request.method}:{request.path}:{request.key}"
