"""The objects of an archive's files, put into the store before the transaction that makes them files.

They hold their room as an upload does, under the import's own id. Each lies where its file will look for it,
and an import that is run again puts it to the same place: so objects are deleted only once nobody can make
files of them any more. What a dead worker leaves is nobody's, and swept up as such.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import IO, Final
from uuid import UUID

from mis_accounts.places import object_of
from mis_accounts.reservations import Reservation, discard, give_up, recall
from mis_tenancy.database import Database
from mis_tenancy.storage import TenantStorage
from tenant_service.imports.archive import Archive
from tenant_service.imports.media import FileToStore, Staged

_CHUNK: Final = 2**20


class Staging:
    """Puts the objects of one import's new files into the store."""

    def __init__(self, database: Database, storage: TenantStorage, tenant_id: UUID, import_id: UUID) -> None:
        self._database = database
        self._storage = storage
        self._tenant_id = tenant_id
        self._import_id = import_id
        self._reservation = Reservation(database, tenant_id, import_id)
        self._put: list[UUID] = []

    async def bring(self, archive: Archive, files: Sequence[FileToStore]) -> Staged:
        """Store the files' objects and return them; raise LimitExceeded where they do not all have room."""
        await self._forget_former()
        if files:
            await self._store(archive, files)
        return Staged(self._import_id, frozenset(self._put))

    async def release(self) -> None:
        """Give the room back."""
        await self._reservation.abandon(self._storage)

    async def drop(self) -> None:
        """Delete what was stored, once the import has failed for good."""
        for media_id in self._put:
            await self._storage.delete(object_of(media_id))

    async def _store(self, archive: Archive, files: Sequence[FileToStore]) -> None:
        total = sum(file.archived.size for file in files)
        await self._reservation.begin(total)
        async with self._database.transaction(self._tenant_id) as session:
            await recall(session, [file.id for file in files])
        for file in files:
            await self._reservation.cover(total)
            self._put.append(file.id)
            with archive.object(file.archived.id) as member:
                size = file.archived.size
                await self._storage.put(object_of(file.id), _pieces(member), expected_bytes=size)

    async def _forget_former(self) -> None:
        """Give back what an earlier attempt held, whose worker died."""
        async with self._database.transaction(self._tenant_id) as session:
            was_held = await give_up(session, self._import_id)
        if was_held:
            await discard(self._database, self._storage, self._tenant_id, self._import_id)


async def _pieces(member: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(member.read, _CHUNK):
        yield piece
