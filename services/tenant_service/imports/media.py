"""Files of an archive: those that the tenant does not have are stored again, with the bytes that they had.

They must be files that could be uploaded today. An archive is written by whoever sends it, so what it says of
a file's former life is no reason to take it.

A file is known by its id, in the tenant that the archive is from. In another one it gets an id that follows
from the tenant and the one that it had, so an archive that is imported twice brings nothing twice.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from mis_accounts.claims import LimitExceeded
from mis_accounts.reservations import end_upload
from mis_accounts.space import claim_space, count_space, settle_space
from mis_http.files.file_names import is_among
from mis_tenancy.errors import TenantUnavailable
from mis_tenancy.identifiers import id_of
from mis_tenancy.session import TenantSession, tenant_of
from tenant_service.imports import report, repository
from tenant_service.imports.importers import Importer
from tenant_service.imports.report import Tally
from tenant_service.imports.rows import ArchivedMedia, not_after

ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Taken:
    """What files the tenant takes today: up to `largest` bytes, and of the `types`."""

    largest: int
    types: Sequence[str]

    def refusal(self, file: ArchivedMedia) -> str | None:
        """Return the code of the refusal that an upload of the file would meet, None where it would not."""
        if file.size > self.largest:
            return "file_too_large"
        return None if is_among(file.content_type, self.types) else "file_type_refused"


@dataclass(frozen=True, slots=True)
class FileToStore:
    """A file that the tenant does not have, and the id that it will have there."""

    archived: ArchivedMedia
    id: UUID


@dataclass(frozen=True, slots=True)
class Staged:
    """The files whose objects an import has put into the store, for which it holds room."""

    import_id: UUID
    ids: frozenset[UUID]


class MediaImport:
    """Judges the files of an archive, and makes those that are new; with `keeps_ids` under their own ids."""

    def __init__(
        self, session: TenantSession, by: Importer, taken: Taken, *, keeps_ids: bool, now: datetime
    ) -> None:
        self._session = session
        self._taken = taken
        self._by = by
        self._keeps_ids = keeps_ids
        self._now = now
        self.tally = Tally()
        self.new: list[FileToStore] = []

    async def take(self, files: Sequence[ArchivedMedia | None]) -> None:
        """Judge some rows; what is new is only noted."""
        there = await repository.media(self._session, [self._target(one) for one in files if one is not None])
        for archived in files:
            self.tally.total += 1
            if archived is None:
                self.tally.refuse("", "row_invalid")
                continue
            identifier = self._target(archived)
            self.tally.remapped += int(identifier != archived.id)
            if identifier not in there and (code := self._taken.refusal(archived)) is not None:
                self.tally.refuse(str(archived.id), code)
            elif identifier not in there:
                self.tally.create += 1
                self.new.append(FileToStore(archived, identifier))
            elif there[identifier] == archived.sha256:
                self.tally.skip += 1
            else:
                self.tally.refuse(str(archived.id), "media_differs")

    async def rehearse(self) -> report.Space:
        """Return whether there is room for what is new."""
        total = sum(file.archived.size for file in self.new)
        before = await count_space(self._session)
        try:
            await claim_space(self._session, total)
        except LimitExceeded:
            return report.Space(before.limit, before.used, total, False)
        return report.Space(before.limit, before.used, total, True)

    async def settle(self, staged: Staged, owners: Mapping[UUID, UUID]) -> report.Space:
        """Make the files whose objects are `staged`; `owners` says which user here a sender is."""
        total = sum(file.archived.size for file in self.new)
        before = await count_space(self._session)
        held = await end_upload(self._session, staged.import_id) if self.new else 0
        if held is None or staged.ids != {file.id for file in self.new}:
            raise TenantUnavailable("The tenant's files changed while the archive was stored. Try again.")
        rows = [self._columns(file, owners) for file in self.new]
        await repository.add_media(self._session, rows)
        if rows:
            await settle_space(self._session, held=held, size=total, files=len(rows))
        return report.Space(before.limit, before.used - held, total, True)

    def _target(self, archived: ArchivedMedia) -> UUID:
        if self._keeps_ids:
            return archived.id
        seed = hashlib.sha256(tenant_of(self._session).bytes + archived.id.bytes).digest()
        return id_of(not_after(archived.created_at, self._now), seed)

    def _columns(self, file: FileToStore, owners: Mapping[UUID, UUID]) -> dict[str, Any]:
        archived = file.archived
        owner = None if archived.owner_id is None else owners.get(archived.owner_id)
        return {
            "id": file.id,
            "filename": archived.filename,
            "content_type": archived.content_type,
            "size": archived.size,
            "sha256": archived.sha256,
            "owner_id": owner,
            "uploaded_by": owner or self._by.id,
            "created_at": not_after(archived.created_at, self._now),
        }
