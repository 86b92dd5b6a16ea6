"""Every statement about the exports themselves; each step is taken once, by whom it still concerns."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from mis_http.pages import Page
from mis_models.exports import ExportRow
from mis_tenancy.session import PlatformSession, TenantSession
from mis_tenancy.tables import TenantRow

UNFINISHED: Final = ("queued", "running")
_UNFINISHED: Final = ExportRow.status.in_(UNFINISHED)
_SYNC: Final = {"synchronize_session": False}


async def add(session: TenantSession, row: dict[str, Any]) -> bool:
    """Insert an export; return False, and insert nothing, while another one has not ended."""
    statement = insert(ExportRow).values(row).on_conflict_do_nothing().returning(ExportRow.id)
    return await session.scalar(statement) is not None


async def unfinished(session: TenantSession) -> UUID | None:
    """Return the id of the export that has not ended, if there is one."""
    found: UUID | None = await session.scalar(select(ExportRow.id).where(_UNFINISHED))
    return found


async def page(session: TenantSession, asked: Page) -> Sequence[ExportRow]:
    """Return the page's exports, and one more where there is more."""
    statement = asked.apply(select(ExportRow), ExportRow.id)  # type: ignore[arg-type]  # the mapped column is the column
    return (await session.scalars(statement)).all()


async def find(session: TenantSession, export_id: UUID) -> ExportRow | None:
    """Return the export, or None."""
    return await session.scalar(select(ExportRow).where(ExportRow.id == export_id))


async def find_with_tenant(
    session: TenantSession, export_id: UUID
) -> tuple[TenantRow | None, ExportRow | None]:
    """Return the tenant as it is now, which no cache says, and its export."""
    joined = select(TenantRow, ExportRow).join(ExportRow, ExportRow.tenant_id == TenantRow.id)
    found = (await session.execute(joined.where(ExportRow.id == export_id))).first()
    return (None, None) if found is None else (found[0], found[1])


async def lock(session: TenantSession, export_id: UUID) -> ExportRow | None:
    """Return the export as it is now, held until the transaction ends, or None."""
    statement = select(ExportRow).where(ExportRow.id == export_id).with_for_update()
    return await session.scalar(statement.execution_options(populate_existing=True))


async def begin(session: TenantSession, export_id: UUID) -> ExportRow | None:
    """Return the export, with a new attempt at it begun where it has not ended, or None."""
    row = await lock(session, export_id)
    if row is not None and row.status in UNFINISHED:
        row.status, row.attempt, row.progress = "running", row.attempt + 1, 0
    return row


async def advance(session: TenantSession, export_id: UUID, attempt: int, changes: dict[str, Any]) -> bool:
    """Change the export if it is still `attempt`'s; return whether it was."""
    own = (ExportRow.id == export_id, ExportRow.status == "running", ExportRow.attempt == attempt)
    statement = update(ExportRow).where(*own).values(changes).returning(ExportRow.id)
    return await session.scalar(statement.execution_options(**_SYNC)) is not None


async def fail(session: TenantSession, export_id: UUID, error: dict[str, Any], now: datetime) -> bool:
    """End an export that has not ended; return whether this was its end."""
    ended = {"status": "failed", "error": error, "completed_at": now}
    statement = update(ExportRow).where(ExportRow.id == export_id, _UNFINISHED).values(ended)
    return await session.scalar(statement.returning(ExportRow.id).execution_options(**_SYNC)) is not None


async def expire(session: TenantSession, export_id: UUID) -> None:
    """Mark a finished export as one whose file is gone."""
    done = (ExportRow.id == export_id, ExportRow.status == "completed")
    await session.execute(update(ExportRow).where(*done).values(status="expired").execution_options(**_SYNC))


async def outlived(session: PlatformSession, now: datetime, most: int) -> Sequence[tuple[UUID, UUID]]:
    """Return tenant and id of finished exports whose time is over."""
    over = (ExportRow.status == "completed", ExportRow.expires_at <= now)
    found = await session.execute(select(ExportRow.tenant_id, ExportRow.id).where(*over).limit(most))
    return [(row.tenant_id, row.id) for row in found]
