"""An upload: checked, counted and hashed on its way into the store, and there whole or not at all.

Space is held before bytes are stored. The bytes then go by in pieces, so memory stays what it is however
large the file. In the end one transaction makes the file and settles what was held; until it commits, all of
it can be taken back, and what nobody is left to take back lapses.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from mis_accounts import places
from mis_accounts.reservations import Reservation, UploadLapsed, end_upload
from mis_accounts.space import settle_space
from mis_http.files.file_names import checked_name, checked_type, is_among
from mis_http.files.incoming import IncomingFile
from mis_http.files.multipart import LARGEST_FIELDS
from mis_models.media import MediaRow
from mis_tenancy.database import Database
from mis_tenancy.errors import TokenRevoked
from mis_tenancy.identifiers import new_id
from mis_tenancy.objects.parts import memory_of
from mis_tenancy.plans import GIB
from mis_tenancy.request_changes import principal_of, record
from mis_tenancy.session import TenantSession
from mis_tenancy.storage import TenantStorage
from mis_tenancy.tenant import Admission, PrincipalKind, Tenant
from user_service.media.errors import FileTooLarge, FileTypeRefused, LengthRequired
from user_service.media.memory import UploadMemory

# What is small is sent to the store in one request, and its length is known before space is held for it.
_SMALL: Final = 2**20
# A store takes so many parts of one object, so parts have to be larger for what is larger than this.
_LARGEST_UNANNOUNCED: Final = 40 * GIB


Hold = Callable[[int], AbstractAsyncContextManager[None]]


class Uploads:
    """Takes files into `tenant` on behalf of `by`, as many large ones at a time as there is `memory` for.

    Through `database` goes what commits before `session`.
    """

    def __init__(
        self,
        session: TenantSession,
        database: Database,
        storage: TenantStorage,
        tenant: Tenant,
        by: Admission,
        is_revoked: Callable[[], bool],
        memory: UploadMemory,
    ) -> None:
        self._session = session
        self._database = database
        self._storage = storage
        self._tenant = tenant
        self._by = by
        self._is_revoked = is_revoked
        self._memory = memory

    async def receive(self, file: IncomingFile) -> MediaRow:
        """Store the file and return it.

        Raise FileTooLarge, FileTypeRefused, LengthRequired, LimitExceeded, ValidationFailed for its name or
        type, UploadsBusy, UploadLapsed, TokenRevoked, and what its pieces and the store raise; then nothing
        of it is left.
        """
        upload = _Upload(file, self._tenant.configuration)
        reservation = Reservation(self._database, self._tenant.id, upload.id)
        try:
            await upload.store(self._storage, reservation, partial(self._memory.hold, self._tenant.id))
            return await self._settle(upload)
        except BaseException:
            # What the request's transaction holds would make the other one wait for it.
            await asyncio.shield(self._session.rollback())
            await asyncio.shield(reservation.abandon(self._storage))
            raise

    async def _settle(self, upload: "_Upload") -> MediaRow:
        # An upload may take long, and its sender may have left since it began.
        if self._is_revoked():
            raise TokenRevoked
        held = await end_upload(self._session, upload.id)
        if held is None:
            raise UploadLapsed
        await settle_space(self._session, held=held, size=upload.size)
        row = upload.row(self._by)
        self._session.add(row)
        changes = {name: {"old": None, "new": getattr(row, name)} for name in ("size", "content_type")}
        record(self._session, self._by, "media.created", resource=f"media/{row.id}", changes=changes)
        await self._session.flush()
        return row


class _Upload:
    """One file on its way, and what has gone by of it."""

    def __init__(self, file: IncomingFile, configuration: Mapping[str, Any]) -> None:
        largest: int = configuration["file_upload.max_size"]
        allowed: Sequence[str] = configuration["file_upload.allowed_types"]
        self.id = new_id()
        self.size = 0
        self._filename = checked_name(file.filename)
        self._content_type = checked_type(file.content_type)
        if not is_among(self._content_type, allowed):
            raise FileTypeRefused(allowed)
        self._file = file
        self._largest = largest
        self._digest = hashlib.sha256()
        # What stands behind the file in a form is not known before, but bounded.
        beside = LARGEST_FIELDS if file.in_form else 0
        if file.length is not None and file.length > largest + beside:
            raise FileTooLarge(largest)
        self._length = None if file.length is None else min(file.length, largest)

    async def store(self, storage: TenantStorage, reservation: Reservation, memory: Hold) -> None:
        """Send the bytes to the store, as far as there is room for them; large ones once memory is held."""
        if self._length is not None:
            await reservation.begin(self._length)
        pieces = self._pieces()
        head = bytearray()
        async for piece in pieces:
            head += piece
            if len(head) > _SMALL:
                break
        if self._length is None:
            await reservation.begin(len(head))
        await reservation.cover(self.size)
        key = places.object_of(self.id)
        if len(head) <= _SMALL:
            await storage.put(key, bytes(head))
            return
        rest = self._covered(bytes(head), pieces, reservation)
        async with memory(memory_of(self._length)):
            await storage.put(key, rest, expected_bytes=self._length)

    def row(self, by: Admission) -> MediaRow:
        """Return the row of the file, whose sender owns it as long as that is a user of the tenant."""
        principal = principal_of(by)
        return MediaRow(
            id=self.id,
            filename=self._filename,
            content_type=self._content_type,
            size=self.size,
            sha256=self._digest.hexdigest(),
            owner_id=principal.id if principal.kind is PrincipalKind.MEMBER else None,
            uploaded_by=principal.id,
            created_at=datetime.now(UTC),
        )

    async def _pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._file.pieces:
            self.size += len(piece)
            if self.size > self._largest:
                raise FileTooLarge(self._largest)
            if self._length is None and self.size > _LARGEST_UNANNOUNCED:
                raise LengthRequired
            self._digest.update(piece)
            yield piece

    async def _covered(
        self, head: bytes, pieces: AsyncIterator[bytes], reservation: Reservation
    ) -> AsyncIterator[bytes]:
        yield head
        async for piece in pieces:
            await reservation.cover(self.size)
            yield piece
