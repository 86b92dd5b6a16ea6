"""Every statement about files and the uploads that are on their way."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import any_, bindparam, delete, func, select, union, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from mis_http.pages import Page
from mis_models.accounts import CountersRow
from mis_models.imports import ImportRow
from mis_models.media import MediaRow, UploadRow
from mis_models.verifications import VerificationRow
from mis_tenancy.session import PlatformSession, TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus

_QUIETLY: Final = {"synchronize_session": False}


async def page(session: TenantSession, asked: Page, owner_id: UUID | None) -> Sequence[MediaRow]:
    """Return the page's files, of one owner or of all, and one more where there is more."""
    statement = select(MediaRow)
    if owner_id is not None:
        statement = statement.where(MediaRow.owner_id == owner_id)
    statement = asked.apply(statement, MediaRow.id)  # type: ignore[arg-type]  # the mapped column is the column
    return (await session.scalars(statement)).all()


async def find(session: TenantSession, media_id: UUID) -> MediaRow | None:
    """Return the file, or None."""
    return await session.scalar(select(MediaRow).where(MediaRow.id == media_id))


async def remove(session: TenantSession, media_id: UUID) -> MediaRow | None:
    """Delete the file's row and return what it was; None where another request has been quicker."""
    statement = delete(MediaRow).where(MediaRow.id == media_id).returning(MediaRow)
    return await session.scalar(statement.execution_options(**_QUIETLY))


async def lapsed(session: PlatformSession, now: datetime, most: int) -> Sequence[tuple[UUID, UUID]]:
    """Return tenant and id of uploads that nobody prolongs any more, those that lapsed first first."""
    statement = select(UploadRow.tenant_id, UploadRow.id).where(UploadRow.lapses_at < now)
    found = await session.execute(statement.order_by(UploadRow.lapses_at).limit(most))
    return [(row.tenant_id, row.id) for row in found]


async def tenants_after(session: PlatformSession, after: UUID | None, most: int) -> Sequence[UUID]:
    """Return the ids of tenants that may have files, in their order, behind `after`."""
    statement = select(TenantRow.id).where(TenantRow.status != TenantStatus.PURGED)
    if after is not None:
        statement = statement.where(TenantRow.id > after)
    return (await session.scalars(statement.order_by(TenantRow.id).limit(most))).all()


async def known(session: TenantSession, ids: Collection[UUID]) -> set[UUID]:
    """Return those of `ids` that are files, uploads that have not ended, or pictures that are still kept."""
    listed = bindparam("ids", list(ids), type_=ARRAY(PG_UUID(as_uuid=True)))
    files = select(MediaRow.id).where(MediaRow.id == any_(listed))
    uploads = select(UploadRow.id).where(UploadRow.id == any_(listed))
    pictures = select(VerificationRow.id).where(
        VerificationRow.id == any_(listed), VerificationRow.image_until.is_not(None)
    )
    return set(await session.scalars(union(files, uploads, pictures)))


async def is_file(session: TenantSession, media_id: UUID) -> bool:
    """Return whether there is such a file, perhaps again."""
    return await find(session, media_id) is not None


async def is_importing(session: TenantSession) -> bool:
    """Return whether an import may be bringing files back."""
    unended = ImportRow.status.in_(("queued", "running"))
    return await session.scalar(select(ImportRow.id).where(unended).limit(1)) is not None


async def note_orphans(session: TenantSession, ids: Collection[UUID], now: datetime, until: datetime) -> None:
    """Write down objects that are nobody's, to be discarded after `until`."""
    rows = [
        {"id": one, "state": "discarding", "reserved": 0, "created_at": now, "lapses_at": until}
        for one in ids
    ]
    if rows:
        await session.execute(insert(UploadRow).values(rows).on_conflict_do_nothing())


async def counted(session: TenantSession) -> tuple[int, int]:
    """Return how many bytes are stored or held, and how many files there are, by the rows themselves."""
    stored = select(func.coalesce(func.sum(MediaRow.size), 0), func.count()).select_from(MediaRow)
    size, files = (await session.execute(stored)).one()
    held = await session.scalar(select(func.coalesce(func.sum(UploadRow.reserved), 0)))
    return int(size) + int(held or 0), int(files)


async def correct(session: TenantSession, storage_bytes: int, files: int) -> None:
    """Write what was counted into the tenant's counters."""
    values = {"storage_bytes": storage_bytes, "files": files}
    await session.execute(update(CountersRow).values(values).execution_options(**_QUIETLY))
