"""What an upload holds of its tenant's space while it runs, in transactions of its own.

The row is there before the first byte is stored and goes with the transaction that makes the file, or after
its object: so whatever a killed process leaves behind can be found by its row, and is given back.
"""

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final
from uuid import UUID

import structlog

from mis_accounts.claims import LimitExceeded
from mis_accounts.space import claim_space, release_space
from mis_models.media import UploadRow
from mis_tenancy.database import Database
from mis_tenancy.storage import TenantStorage
from user_service.media import places, repository
from user_service.media.errors import UploadLapsed

_log = structlog.get_logger(__name__)

# No client and no store may keep an upload waiting for as long.
LIFETIME: Final = timedelta(minutes=10)
_PROLONGED_EVERY: Final = 60.0
# What is held at a time for a file that does not say how long it is.
_STEP: Final = 16 * 2**20


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
                await self._hold(missing)
        elif monotonic() - self._renewed > _PROLONGED_EVERY:
            await self._hold(0)

    async def abandon(self, storage: TenantStorage) -> None:
        """Give everything back that the upload held, once its object is gone; where that fails, it lapses."""
        if not self._begun:
            return
        try:
            async with self._database.transaction(self._tenant_id) as session:
                await repository.give_up(session, self._id, None)
            await discard(self._database, storage, self._tenant_id, self._id)
        except Exception as error:
            # What made the upload fail is what its sender is to hear of.
            _log.warning("media.upload_left_to_lapse", upload=str(self._id), error=repr(error))

    async def _hold(self, size: int) -> None:
        lapses_at = datetime.now(UTC) + LIFETIME
        async with self._database.transaction(self._tenant_id) as session:
            if size:
                await claim_space(session, size)
            if not await repository.reserve(session, self._id, size, lapses_at):
                raise UploadLapsed
        self._held += size
        self._renewed = monotonic()


async def discard(database: Database, storage: TenantStorage, tenant_id: UUID, upload_id: UUID) -> None:
    """Delete the object of an upload that was given up, and then give back what it held."""
    await storage.delete(places.object_of(upload_id))
    async with database.transaction(tenant_id) as session:
        held = await repository.end_upload(session, upload_id, "discarding")
        if held is not None:
            await release_space(session, held)
