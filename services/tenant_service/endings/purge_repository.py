"""The statements of the purge, as the platform's role bound to the tenant that is going.

They name tables instead of mapped classes, because they serve every table there is; each compares the tenant
by hand, and the policies compare it again.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CursorResult, Table, delete, func, literal, or_, select, tuple_, union_all, update
from sqlalchemy.dialects.postgresql import insert

from mis_models.endings import CertificateKeyRow, DeletionCertificateRow
from mis_models.tenants import PlatformIdempotencyRow
from mis_tenancy.session import PlatformSession, TenantSession, tenant_of
from mis_tenancy.tables import AuditRow, TenantNameRow, TenantRow
from mis_tenancy.tenant import TenantStatus
from tenant_service.endings.adopted_repository import adopted_tables
from tenant_service.endings.tables import key_ended, purged_tables, sweep_key

# A tenant's own routes are `/api/v1/tenants/{id or slug}/…`.
_TENANTS: Final = "/api/v1/tenants"
_NAME_IN_PATH: Final = 5

_UNSCOPED: Final = {"unscoped": True}
_QUIETLY: Final = {"synchronize_session": False}


async def due_tenants(session: PlatformSession, pause: timedelta, most: int) -> list[UUID]:
    """Return tenants whose purge is due, but those whose last one has failed for good within the `pause`."""
    lately = select(DeletionCertificateRow.tenant_id).where(
        DeletionCertificateRow.tenant_id == TenantRow.id,
        DeletionCertificateRow.failed_at > func.clock_timestamp() - pause,
    )
    due = (
        select(TenantRow.id)
        .where(TenantRow.status == TenantStatus.PENDING_DELETION.value)
        .where(TenantRow.purge_at <= func.clock_timestamp(), ~lately.exists())
        .order_by(TenantRow.purge_at)
        .limit(most)
    )
    return list(await session.scalars(due))


async def is_due(session: TenantSession) -> bool:
    """Return whether the tenant's purge is due by the database's clock."""
    asked = select(TenantRow.purge_at <= func.clock_timestamp()).where(TenantRow.id == tenant_of(session))
    return bool(await session.scalar(asked))


async def closed_for(session: TenantSession) -> timedelta:
    """Return how long ago the tenant was closed for its purge, by the database's clock."""
    since = func.clock_timestamp() - TenantRow.purging_since
    age: timedelta = (await session.scalars(select(since).where(TenantRow.id == tenant_of(session)))).one()
    return age


async def has_begun(session: TenantSession) -> bool:
    """Return whether there is a record of the tenant's purge."""
    return await session.get(DeletionCertificateRow, tenant_of(session)) is not None


async def requester(session: TenantSession) -> tuple[UUID | None, str | None]:
    """Return who asked for the deletion, from the log that is about to go."""
    newest = (
        select(AuditRow.actor, AuditRow.actor_kind)
        .where(AuditRow.action == "tenant.deleted", AuditRow.kind == "change")
        .order_by(AuditRow.id.desc())
        .limit(1)
    )
    row = (await session.execute(newest)).first()
    return (None, None) if row is None else (row.actor, row.actor_kind)


async def record(session: TenantSession) -> DeletionCertificateRow:
    """Return the record of the tenant's purge, locked, so that two workers add to it one after the other."""
    own = DeletionCertificateRow.tenant_id == tenant_of(session)
    return (await session.scalars(select(DeletionCertificateRow).where(own).with_for_update())).one()


async def hold_tenant(session: TenantSession) -> TenantRow:
    """Return the tenant once no transaction is left that has inserted a row of it; new ones wait.

    Every row of a tenant shares the tenant's lock until its transaction ends, for the foreign key's sake.
    """
    own = select(TenantRow).where(TenantRow.id == tenant_of(session)).with_for_update()
    return (await session.scalars(own)).one()


async def claim_answers(session: TenantSession) -> None:
    """Note at operators' requests that name the tenant in their path whose they are.

    One that worked in the tenant's rows says so itself. These were refused before, or broke off.
    """
    own, kept = tenant_of(session), PlatformIdempotencyRow
    named = func.split_part(func.lower(kept.path), "/", _NAME_IN_PATH)
    names = select(TenantNameRow.name).where(TenantNameRow.tenant_id == own)
    claimed = update(kept).where(kept.tenant_id.is_(None), kept.path.startswith(f"{_TENANTS}/"))
    await session.execute(
        claimed.where(or_(named == str(own), named.in_(names))).values(tenant_id=own),
        execution_options=_QUIETLY,
    )


async def shred_keys(session: TenantSession, table: Table) -> tuple[int, int]:
    """Delete the tenant's rows of a key table; return how many, and how many of them still held a key."""
    doomed = delete(table).where(table.c.tenant_id == tenant_of(session)).returning(key_ended(table))
    gone = (await session.scalars(doomed, execution_options=_UNSCOPED)).all()
    return len(gone), sum(ended_at is None for ended_at in gone)


async def delete_some(session: TenantSession, table: Table, most: int) -> tuple[int, bool]:
    """Delete about `most` of the tenant's rows along the table's key.

    Return how many that were, and whether there may be more.
    """
    own, key = table.c.tenant_id == tenant_of(session), sweep_key(table)
    doomed, edge = delete(table).where(own), None
    if key:
        ahead = select(*key).where(own).order_by(*key).offset(most - 1).limit(1)
        edge = (await session.execute(ahead, execution_options=_UNSCOPED)).first()
    if edge is not None:
        # One comparison of rows, which the index answers, takes what lies up to there, rows alike included.
        values = [literal(value, column.type) for column, value in zip(key, edge, strict=True)]
        doomed = doomed.where(tuple_(*key) <= tuple_(*values))
    result: CursorResult[Any] = await session.execute(doomed, execution_options=_UNSCOPED)  # type: ignore[assignment]
    return result.rowcount, edge is not None


async def emptied_tables(session: TenantSession) -> list[Table]:
    """Return every table that a purge empties, children before their parents.

    Those of services beside the suite come first, as they may refer to the suite's and never the other way.
    """
    return [*await adopted_tables(session), *purged_tables()]


async def residue(session: TenantSession) -> dict[str, int]:
    """Return the tables that still hold rows of the tenant, with how many."""
    own = tenant_of(session)
    counts = [
        select(literal(table.fullname).label("name"), func.count().label("rows"))
        .select_from(table)
        .where(table.c.tenant_id == own)
        for table in await emptied_tables(session)
    ]
    found = await session.execute(union_all(*counts), execution_options=_UNSCOPED)
    return {row.name: row.rows for row in found if row.rows}


async def reserve_names(session: TenantSession, until: datetime) -> None:
    """Hold back the names that the tenant still has; those it gave up before keep their date."""
    own = (TenantNameRow.tenant_id == tenant_of(session), TenantNameRow.reserved_until.is_(None))
    await session.execute(
        update(TenantNameRow).where(*own).values(reserved_until=until), execution_options=_QUIETLY
    )


async def publish_key(session: TenantSession, kid: str, jwk: dict[str, Any], now: datetime) -> None:
    """Publish the public half of the key that signs, if it is not yet."""
    row = {"kid": kid, "jwk": jwk, "created_at": now}
    await session.execute(insert(CertificateKeyRow).values(row).on_conflict_do_nothing())


async def certificate_of(session: PlatformSession, tenant_id: UUID) -> DeletionCertificateRow | None:
    """Return the record of a tenant's purge, or None before it has begun."""
    return await session.get(DeletionCertificateRow, tenant_id)


async def published_keys(session: PlatformSession) -> list[dict[str, Any]]:
    """Return every public key that a certificate may have been signed with, newest first."""
    newest = select(CertificateKeyRow.jwk).order_by(CertificateKeyRow.created_at.desc())
    return list(await session.scalars(newest))
