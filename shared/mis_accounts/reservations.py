"""What is on its way into the store holds room in the tenant's books, in transactions of its own.

The row is there before the first byte is stored and goes with the transaction that makes the file, or after
its object: so whatever a killed process leaves behind can be found by its row, and is given back
(docs/decisions/0024-uploads-hold-room-first.md).
"""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import delete, func, select, update

from mis_accounts.claims import LimitExceeded
from mis_accounts.places import all_of
from mis_accounts.space import claim_space, release_space
from mis_models.media import UploadRow
from mis_tenancy.database import Database
from mis_tenancy.errors import ProblemError
from mis_tenancy.session import TenantSession
from mis_tenancy.storage import TenantStorage

_log = structlog.get_logger(__name__)

# No client and no store may keep an upload waiting for as long.
LIFETIME: Final = timedelta(minutes=10)
_PROLONGED_EVERY: Final = 60.0
# What is held at a time for a file that does not say how long it is.
_STEP: Final = 16 * 2**20
# Seconds that the first of several uploads waits for room that the others may give back.
_PATIENCE: Final = 30.0
_LOOK: Final = 0.2

_QUIETLY: Final = {"synchronize_session": False}


class UploadLapsed(ProblemError):
    """The upload was given up, because nothing was heard of it for too long."""

    status = 503
    code = "upload_lapsed"
    detail = "Storing the file took too long, so it was given up. Nothing of it was kept. Send it again."


class Reservation:
    """The upload `upload_id` in the tenant's books."""

    def __init__(self, database: Database, tenant_id: UUID, upload_id: UUID) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._id = upload_id
        self._held = 0
        self._begun = False
        self._renewed = 0.0

    async def begin(self, size: int) -> None:
        """Hold the first `size` bytes; raise LimitExceeded where there is no room for them."""
        now = datetime.now(UTC)
        row = UploadRow(id=self._id, reserved=size, created_at=now, lapses_at=now + LIFETIME)
        async with self._database.transaction(self._tenant_id) as session:
            await claim_space(session, size)
            session.add(row)
        self._begun, self._held, self._renewed = True, size, monotonic()

    async def cover(self, size: int) -> None:
        """Hold at least `size` bytes; raise LimitExceeded, or UploadLapsed for one that was given up."""
        missing = size - self._held
        if missing > 0:
            try:
                await self._hold(max(missing, _STEP))
            except LimitExceeded:
                # The last of the room may be too little for a step and enough for the file.
                await self._hold_in_turn(missing)
        elif monotonic() - self._renewed > _PROLONGED_EVERY:
            await self._hold(0)

    async def abandon(self, storage: TenantStorage) -> None:
        """Give everything back that the upload held, once its object is gone; where that fails, it lapses."""
        if not self._begun:
            return
        try:
            async with self._database.transaction(self._tenant_id) as session:
                await give_up(session, self._id)
            await discard(self._database, storage, self._tenant_id, self._id)
        except Exception as error:
            # What made the upload fail is what its sender is to hear of.
            _log.warning("media.upload_left_to_lapse", upload=str(self._id), error=repr(error))

    async def _hold(self, size: int) -> None:
        async with self._database.transaction(self._tenant_id) as session:
            if size:
                await claim_space(session, size)
            if not await _prolong(session, self._id, size):
                raise UploadLapsed
        self._held += size
        self._renewed = monotonic()

    async def _hold_in_turn(self, size: int) -> None:
        """Hold `size` bytes; of uploads that share too little room the first one waits for the others.

        Else each could hold a part of what only one of them needs, and all would be refused.
        """
        end = monotonic() + _PATIENCE
        while True:
            try:
                await self._hold(size)
                return
            except LimitExceeded:
                if monotonic() > end or not await self._is_first():
                    raise
            await asyncio.sleep(_LOOK)

    async def _is_first(self) -> bool:
        async with self._database.transaction(self._tenant_id) as session:
            first, several = (
                await session.execute(select(func.min(UploadRow.created_at), func.count() > 1))
            ).one()
            own = await session.scalar(select(UploadRow.created_at).where(UploadRow.id == self._id))
        return bool(several) and own == first


async def end_upload(session: TenantSession, upload_id: UUID, state: str = "receiving") -> int | None:
    """Delete the upload if it is in that state, and return what it held; None where it is not."""
    own = (UploadRow.id == upload_id, UploadRow.state == state)
    statement = delete(UploadRow).where(*own).returning(UploadRow.reserved)
    held: int | None = await session.scalar(statement.execution_options(**_QUIETLY))
    return held


async def give_up(session: TenantSession, upload_id: UUID, *, lapsed_before: datetime | None = None) -> bool:
    """Mark an upload, or only one that lapsed before that moment, for discarding; return whether it is."""
    own = [UploadRow.id == upload_id]
    if lapsed_before is not None:
        own.append(UploadRow.lapses_at < lapsed_before)
    statement = update(UploadRow).where(*own).values(state="discarding").returning(UploadRow.id)
    return await session.scalar(statement.execution_options(**_QUIETLY)) is not None


async def recall(session: TenantSession, ids: Collection[UUID]) -> None:
    """Let objects stay that were noted for discarding, because they become files again."""
    noted = (UploadRow.id.in_(ids), UploadRow.state == "discarding", UploadRow.reserved == 0)
    await session.execute(delete(UploadRow).where(*noted).execution_options(**_QUIETLY))


async def discard(database: Database, storage: TenantStorage, tenant_id: UUID, upload_id: UUID) -> None:
    """Delete what lies under the id of something that was given up, and then give back what it held."""
    for key in all_of(upload_id):
        await storage.delete(key)
    async with database.transaction(tenant_id) as session:
        held = await end_upload(session, upload_id, "discarding")
        if held is not None:
            await release_space(session, held)


async def _prolong(session: TenantSession, upload_id: UUID, size: int) -> bool:
    own = (UploadRow.id == upload_id, UploadRow.state == "receiving")
    values: dict[str, Any] = {
        "reserved": UploadRow.reserved + size,
        "lapses_at": datetime.now(UTC) + LIFETIME,
    }
    statement = update(UploadRow).where(*own).values(values).returning(UploadRow.id)
    return await session.scalar(statement.execution_options(**_QUIETLY)) is not None
