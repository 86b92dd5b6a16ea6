"""Every statement about imports, and about the members that an archive's users are compared with."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, any_, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import defer

from mis_http.pages import Page
from mis_models.accounts import UserRow
from mis_models.imports import ImportRow
from mis_models.media import MediaRow
from mis_tenancy.session import PlatformSession, TenantSession
from mis_tenancy.tables import AuditRow
from mis_tenancy.tenant import PrincipalKind

UNFINISHED: Final = ("queued", "running")
_UNFINISHED: Final = ImportRow.status.in_(UNFINISHED)
_UNENDED: Final = ImportRow.status.in_(("receiving", *UNFINISHED))


async def unfinished(session: TenantSession) -> UUID | None:
    """Return the id of the import that has not ended, if there is one."""
    found: UUID | None = await session.scalar(select(ImportRow.id).where(_UNFINISHED))
    return found


async def page(session: TenantSession, asked: Page) -> Sequence[ImportRow]:
    """Return the page's imports, and one more where there is more."""
    statement = asked.apply(select(ImportRow), ImportRow.id)  # type: ignore[arg-type]  # the mapped column is the column
    return (await session.scalars(statement)).all()


async def find(session: TenantSession, import_id: UUID) -> ImportRow | None:
    """Return the import, or None."""
    return await session.scalar(select(ImportRow).where(ImportRow.id == import_id))


async def lock(session: TenantSession, import_id: UUID) -> ImportRow | None:
    """Return the import as it is now, held until the transaction ends, or None."""
    statement = select(ImportRow).where(ImportRow.id == import_id).with_for_update()
    return await session.scalar(statement.execution_options(populate_existing=True))


async def fail(session: TenantSession, import_id: UUID, error: dict[str, Any], now: datetime) -> bool:
    """End an import that has not ended; return whether this was its end."""
    ended = {"status": "failed", "error": error, "completed_at": now}
    statement = update(ImportRow).where(ImportRow.id == import_id, _UNENDED).values(ended)
    statement = statement.execution_options(synchronize_session=False)
    return await session.scalar(statement.returning(ImportRow.id)) is not None


async def silent(session: PlatformSession, since: datetime, most: int) -> Sequence[tuple[UUID, UUID]]:
    """Return tenant and id of imports that have been received since before then: their process has died."""
    broken_off = (ImportRow.status == "receiving", ImportRow.created_at < since)
    found = await session.execute(select(ImportRow.tenant_id, ImportRow.id).where(*broken_off).limit(most))
    return [(row.tenant_id, row.id) for row in found]


async def members(
    session: TenantSession, ids: Sequence[UUID], norms: Sequence[str]
) -> Sequence[Row[tuple[UUID, str, str, str, dict[str, Any]]]]:
    """Return id, address, name, role and attributes of the members with one of those ids or addresses."""
    with_id = UserRow.id == any_(bindparam("ids", list(ids), type_=ARRAY(PG_UUID(as_uuid=True))))
    with_norm = UserRow.email_norm == any_(bindparam("norms", list(norms), type_=ARRAY(TEXT)))
    shown = select(UserRow.id, UserRow.email_norm, UserRow.name, UserRow.role, UserRow.attributes)
    return (await session.execute(shown.where(or_(with_id, with_norm)))).all()


async def kinds_of_actors(session: TenantSession, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return what those of the ids were that the audit log knows as somebody who did something."""
    asked = func.unnest(bindparam("ids", list(ids), type_=ARRAY(PG_UUID(as_uuid=True)))).column_valued(
        "asked"
    )
    # One row of each tells, as an id is of one kind; what the worker does in somebody's name does not.
    own = (AuditRow.actor == asked, AuditRow.actor_kind.in_(list(PrincipalKind)))
    kind = select(AuditRow.actor_kind).where(*own).limit(1).scalar_subquery()
    found = await session.execute(select(asked.label("id"), kind.label("kind")))
    return {UUID(int=row.id.int): row.kind for row in found if row.kind is not None}


async def media(session: TenantSession, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the SHA-256 of the files with one of those ids, by id."""
    with_id = MediaRow.id == any_(bindparam("ids", list(ids), type_=ARRAY(PG_UUID(as_uuid=True))))
    found = await session.execute(select(MediaRow.id, MediaRow.sha256).where(with_id))
    return {row.id: row.sha256 for row in found}


async def add_media(session: TenantSession, rows: Sequence[dict[str, Any]]) -> None:
    """Insert files whose objects are stored."""
    session.add_all(MediaRow(**row) for row in rows)
    await session.flush()


async def lock_members(session: TenantSession, ids: Sequence[UUID]) -> Sequence[UserRow]:
    """Return those members, held against other writers; their hashes stay unread."""
    if not ids:
        return []
    statement = (
        select(UserRow).where(UserRow.id.in_(ids)).options(defer(UserRow.password_hash, raiseload=True))
    )
    # In one order everywhere, so that two writers never wait for each other in a circle.
    return (await session.scalars(statement.order_by(UserRow.id).with_for_update())).all()
