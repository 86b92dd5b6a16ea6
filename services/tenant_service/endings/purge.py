"""The purge of one tenant: closed for good, emptied in small steps, looked over, and certified.

Every step is a transaction that finds its work by looking, so a worker that dies anywhere is followed by one
that goes on, and counts commit with what they count. The order is on purpose. First the tenant is closed: no
way back, no token good, and once the promised second has passed nobody is let in any more. Then its keys
go, so that nothing encrypted can be read however long the rest takes; then its rows, children first; then
what lies outside Postgres. In the end the tenant's row is held against every transaction that has inserted
for it, and only nothing at all becomes a tombstone.
"""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from mis_jobs.jobs import described
from mis_models.endings import DeletionCertificateRow
from mis_models.platform import PlatformAuditRow
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from mis_tenancy.turns import lock_tenant
from tenant_service.endings import purge_repository as repository
from tenant_service.endings.adopted_repository import refuse_out_of_reach
from tenant_service.endings.errors import ResidueFound, TablesOutOfReach
from tenant_service.endings.repository import moment
from tenant_service.endings.tables import key_tables
from tenant_service.endings.tombstone import Tombstones
from tenant_service.endings.traces import Traces
from tenant_service.platform_trail.repository import write_waiting

log = structlog.get_logger(__name__)

# Twice the second in which a revocation is in force everywhere.
SETTLING: Final = timedelta(seconds=2)
_ROWS_AT_ONCE: Final = 1_000
_DIED: Final = "The worker that ran it died."


class Purge:
    """Purges tenants; `platform` is the platform role's database, bound to one tenant at a time."""

    def __init__(
        self,
        platform: Database,
        traces: Traces,
        tombstones: Tombstones,
        *,
        settling: timedelta = SETTLING,
        rows_at_once: int = _ROWS_AT_ONCE,
    ) -> None:
        self._platform = platform
        self._traces = traces
        self._tombstones = tombstones
        self._settling = settling
        self._rows_at_once = rows_at_once

    async def run(self, tenant_id: UUID) -> None:
        """Bring the tenant's purge to its end, or do nothing where none is due.

        Raise ResidueFound where something was there in the end, TablesOutOfReach where nobody can say, and
        what a store that is away raises.
        """
        closed_for = await self._close(tenant_id)
        if closed_for is None:
            return
        # Until then a process that has not heard the news may let a request in.
        await asyncio.sleep((self._settling - closed_for).total_seconds())
        await self._empty(tenant_id)
        outside = await self._traces.count(tenant_id)
        async with self._platform.silent_transaction(tenant_id) as session:
            row = await repository.hold_tenant(session)
            if row.status == TenantStatus.PURGED:
                return
            rows = await repository.residue(session)
            if rows or outside.redis_keys or outside.objects:
                raise ResidueFound(rows, outside)
            await refuse_out_of_reach(session)
            await self._tombstones.set_up(session, row)
        log.info("tenant.purged", tenant=str(tenant_id))

    async def look_again(self, tenant_id: UUID) -> bool:
        """Remove what was written after the purge, by who was still at work; return whether that was any."""
        outside = await self._traces.count(tenant_id)
        async with self._platform.silent_transaction(tenant_id) as session:
            rows = await repository.residue(session)
        if not (rows or outside.redis_keys or outside.objects):
            return False
        found = ResidueFound(rows, outside)
        log.error("tenant.residue_after_purge", tenant=str(tenant_id), reasons=found.reasons)
        await self._empty(tenant_id)
        async with self._platform.silent_transaction(tenant_id) as session:
            session.add(_removal(tenant_id, found))
        return True

    async def note_failure(self, tenant_id: UUID, error: Exception) -> None:
        """Write down why a run failed, for operators to see."""
        told = (ResidueFound, TablesOutOfReach)
        reasons = error.reasons if isinstance(error, told) else [described(error)]
        async with self._platform.silent_transaction(tenant_id) as session:
            if await repository.has_begun(session):
                (await repository.record(session)).failure = {"reasons": reasons}

    async def note_rest(self, tenant_id: UUID) -> None:
        """Write down since when nothing is tried for now; a worker that died has left no reason."""
        async with self._platform.silent_transaction(tenant_id) as session:
            if await repository.has_begun(session):
                record = await repository.record(session)
                record.failure = record.failure or {"reasons": [_DIED]}
                record.failed_at = await moment(session)

    async def _close(self, tenant_id: UUID) -> timedelta | None:
        """Close a tenant that is due, for good; return since when it is closed, None for any other."""
        async with self._platform.silent_transaction(tenant_id) as session:
            row = await lock_tenant(session)
            if row.status != TenantStatus.PENDING_DELETION:
                return None
            if row.purging_since is None:
                if not await repository.is_due(session):
                    return None
                await _begin(session, row)
            return await repository.closed_for(session)

    async def _empty(self, tenant_id: UUID) -> None:
        async with self._platform.silent_transaction(tenant_id) as session:
            await write_waiting(session)
            await repository.claim_answers(session)
            shredded = {table.name: await repository.shred_keys(session, table) for table in key_tables()}
            # The record is locked last, as below, so that two workers do not wait for each other in a circle.
            record = await repository.record(session)
            for name, (rows, keys) in shredded.items():
                _count(record, name, rows)
                record.keys_shredded += keys
        async with self._platform.silent_transaction(tenant_id) as session:
            tables = await repository.emptied_tables(session)
        for table in tables:
            more = True
            while more:
                async with self._platform.silent_transaction(tenant_id) as session:
                    rows, more = await repository.delete_some(session, table, self._rows_at_once)
                    if rows:
                        _count(await repository.record(session), table.fullname, rows)
        await self._remove_traces(tenant_id)

    async def _remove_traces(self, tenant_id: UUID) -> None:
        # Counted before they go, and the most that was ever seen: so a crash in between loses no count.
        seen = await self._traces.count(tenant_id)
        async with self._platform.silent_transaction(tenant_id) as session:
            record = await repository.record(session)
            record.redis_keys = max(record.redis_keys, seen.redis_keys)
            record.objects = max(record.objects, seen.objects)
        await self._traces.remove(tenant_id)


async def _begin(session: TenantSession, row: TenantRow) -> None:
    now = await moment(session)
    requested_by, kind = await repository.requester(session)
    session.add(
        DeletionCertificateRow(
            tenant_id=row.id,
            requested_at=row.status_since,
            requested_by=requested_by,
            requested_by_kind=kind,
            due_at=row.purge_at,
            started_at=now,
        )
    )
    row.purging_since = row.updated_at = now
    row.epoch += 1
    row.version += 1
    revoke(session, Kind.TENANT, tenant_id=row.id, epoch=row.epoch)
    await session.flush()


def _count(record: DeletionCertificateRow, table: str, rows: int) -> None:
    # A new dictionary, because a changed one would not be seen to have changed.
    record.deleted = record.deleted | {table: record.deleted.get(table, 0) + rows}


def _removal(tenant_id: UUID, found: ResidueFound) -> PlatformAuditRow:
    return PlatformAuditRow(
        id=new_id(),
        kind="change",
        action="tenant.residue_removed",
        resource=f"tenants/{tenant_id}",
        tenant_id=tenant_id,
        outcome="success",
        reason=str(found),
    )
