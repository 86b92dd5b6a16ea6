"""Every statement of an erasure."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, delete, func, or_, select, update

from mis_models.accounts import UserRow
from mis_models.api_keys import API_KEY_CREATED, ApiKeyRow
from mis_models.exports import ExportRow
from mis_models.imports import ImportRow
from mis_models.links import AccountTokenRow
from mis_models.media import MediaRow
from mis_models.tenants import IdempotencyRow
from mis_models.work import JobRow
from mis_tenancy.origins.tables import ActorKeyRow
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import AuditRow
from mis_tenancy.tenant import PrincipalKind
from user_service.erasure.traces import TRACES

_QUIETLY: Final = {"synchronize_session": False}
# What of a tenant says who people are; the log says from where they asked.
_TELLING: Final = frozenset({"users", "media", "audit_logs"})


async def was_erased(session: TenantSession, user_id: UUID) -> bool:
    """Return whether somebody of this id has been erased before."""
    erased = select(ActorKeyRow.id).where(ActorKeyRow.actor == user_id, ActorKeyRow.erased_at.is_not(None))
    return await session.scalar(erased.limit(1)) is not None


async def was_member(session: TenantSession, user_id: UUID) -> bool:
    """Return whether the audit log knows somebody of this id as a member who did something."""
    member = PrincipalKind.MEMBER.value
    acted = select(AuditRow.id).where(AuditRow.actor == user_id, AuditRow.actor_kind == member)
    return await session.scalar(acted.limit(1)) is not None


async def keys_made_by(session: TenantSession, user_id: UUID) -> Sequence[UUID]:
    """Return the ids of the user's API keys in order, also of those gone, which the audit log names."""
    there = await session.scalars(select(ApiKeyRow.id).where(ApiKeyRow.created_by == user_id))
    created = select(AuditRow.resource).where(AuditRow.actor == user_id, AuditRow.action == API_KEY_CREATED)
    named = await session.scalars(created.where(AuditRow.resource.is_not(None)))
    return sorted({*there, *(UUID(resource.partition(":")[2]) for resource in named if resource)})


async def counted(session: TenantSession, user_id: UUID) -> dict[str, int]:
    """Return how many rows of each kind of trace there are of the user."""
    counts = {}
    for one in TRACES:
        count = select(func.count(one.column)).where(one.column == user_id)
        counts[one.kind] = await session.scalar(count) or 0
    return counts


async def requested_addresses(session: TenantSession, user_id: UUID) -> Sequence[str]:
    """Return the addresses that the user has asked to change to."""
    asked = select(AccountTokenRow.email).where(
        AccountTokenRow.user_id == user_id, AccountTokenRow.email.is_not(None)
    )
    return [address for address in await session.scalars(asked) if address]


async def sealed_jobs(
    session: TenantSession, kinds: Collection[str]
) -> Sequence[Row[UUID, str, dict[str, Any]]]:
    """Return id, kind and payload of the tenant's jobs of these kinds that still hold something sealed."""
    columns = select(JobRow.id, JobRow.kind, JobRow.payload)
    return (
        await session.execute(columns.where(JobRow.kind.in_(kinds), JobRow.payload.has_key("sealed")))
    ).all()


async def empty_jobs(session: TenantSession, ids: Collection[UUID]) -> None:
    """Leave nothing in these jobs but that they were erased, so that their workers have nothing to do."""
    emptied = update(JobRow).where(JobRow.id.in_(ids)).values(payload={"outcome": "erased"})
    await session.execute(emptied.execution_options(**_QUIETLY))


async def kept_answers(session: TenantSession, paths: Collection[str]) -> Sequence[IdempotencyRow]:
    """Return the answers that are kept for requests of these paths."""
    kept = select(IdempotencyRow).where(IdempotencyRow.path.in_(paths), IdempotencyRow.answer.is_not(None))
    return (await session.scalars(kept)).all()


async def drop_own_answers(session: TenantSession, user_id: UUID) -> int:
    """Delete the answers kept for the user's own requests, and for those about the user."""
    about = or_(
        IdempotencyRow.principal_id == user_id, IdempotencyRow.path.startswith(f"/api/v1/users/{user_id}")
    )
    gone = delete(IdempotencyRow).where(about).returning(IdempotencyRow.key)
    return len((await session.scalars(gone.execution_options(**_QUIETLY))).all())


async def drop_files(session: TenantSession, user_id: UUID) -> Sequence[Row[UUID, int]]:
    """Delete the rows of the user's files, also of what outlasted them; return id and size of each."""
    theirs = or_(MediaRow.owner_id == user_id, MediaRow.uploaded_by == user_id)
    gone = delete(MediaRow).where(theirs).returning(MediaRow.id, MediaRow.size)
    return (await session.execute(gone.execution_options(**_QUIETLY))).all()


async def exports_with_people(session: TenantSession) -> Sequence[Row[UUID, list[str], datetime | None]]:
    """Return the id and end of each export that tells of people, whose archive is there or being written."""
    there = select(ExportRow.id, ExportRow.data_types, ExportRow.expires_at)
    kept = ExportRow.status.in_(("queued", "running", "completed"))
    found = await session.execute(there.where(kept).order_by(ExportRow.id))
    return [row for row in found if _TELLING & set(row.data_types)]


async def imports_under_way(session: TenantSession) -> Sequence[UUID]:
    """Return the id of each import that has not ended, whose archive may bring people back."""
    unended = ImportRow.status.in_(("queued", "running"))
    return (await session.scalars(select(ImportRow.id).where(unended).order_by(ImportRow.id))).all()


async def delete_user(session: TenantSession, user: UserRow) -> None:
    """Delete the user, and with them all rows of their traces."""
    await session.delete(user)
    await session.flush()
