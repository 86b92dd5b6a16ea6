"""Changes of plan during which the tenant is closed: two transactions, and a job that finishes for the dead.

The first one closes the tenant and leaves a job behind; a second later, when every process refuses its
requests, the second one changes the plan and opens the tenant. Whatever becomes of the process in between,
the job makes the change or gives it up, and opens the tenant either way.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from mis_jobs.jobs import Job, enqueue
from mis_models.plan_migrations import PlanMigrationRow
from mis_tenancy.database import Database
from mis_tenancy.session import TenantSession, tenant_of
from tenant_service.billing.errors import SubscriptionEnded
from tenant_service.plan_migration import repository
from tenant_service.plan_migration.errors import OverPlanLimits
from tenant_service.plan_migration.order import Actor, Order, Requester
from tenant_service.plan_migration.service import Migrations

RECOVERY: Final = "plan_migration_recovery"

# By then every process has heard that the tenant is closed, as far as it hears at all.
SETTLED: Final = 1.0
# What was not finished by then was left in the middle.
_ABANDONED: Final = timedelta(seconds=5)
_BROKEN: Final = [{"code": "internal_error"}]


async def leave_to_job(session: TenantSession, row: PlanMigrationRow, now: datetime) -> None:
    """Let a job finish the migration that closes the session's tenant, should nobody else."""
    payload = {"migrationId": str(row.id)}
    await enqueue(session, RECOVERY, payload, tenant_id=tenant_of(session), run_at=now + _ABANDONED)


class Downtime:
    """Changes plans with the tenant closed; `database` is the application role's."""

    def __init__(self, database: Database, *, settled: float = SETTLED) -> None:
        self._database = database
        self._settled = settled

    async def close(self, tenant_id: UUID, actor: Actor, order: Order) -> UUID:
        """Close the tenant, wait until every process refuses its requests, and return the migration's id.

        Raise what `Migrations.migrate` raises, with the tenant open.
        """
        now = datetime.now(UTC)
        async with self._database.transaction(tenant_id) as session:
            row = await Migrations(session, actor, now).close(order)
            await leave_to_job(session, row, now)
        await asyncio.sleep(self._settled)
        return row.id

    async def migrate(self, tenant_id: UUID, actor: Actor, order: Order) -> PlanMigrationRow:
        """Change the plan with the tenant closed, for callers without a transaction of their own."""
        migration_id = await self.close(tenant_id, actor, order)
        async with self._database.transaction(tenant_id) as session:
            now = datetime.now(UTC)
            return await Migrations(session, actor, now).finish(migration_id, now)

    async def recover(self, job: Job) -> None:
        """Finish the job's migration if nobody has; one that is not allowed any more is given up."""
        if job.tenant_id is None:
            return
        migration_id = UUID(job.payload["migrationId"])
        try:
            await self._finish(job.tenant_id, migration_id)
        except OverPlanLimits as refusal:
            await self._give_up(job.tenant_id, migration_id, refusal.members["limits"])
        except SubscriptionEnded as refusal:
            await self._give_up(job.tenant_id, migration_id, [{"code": refusal.code}])

    async def bury(self, job: Job) -> None:
        """Give up the job's migration, which could not be made, and open the tenant."""
        if job.tenant_id is not None:
            await self._give_up(job.tenant_id, UUID(job.payload["migrationId"]), _BROKEN)

    async def _finish(self, tenant_id: UUID, migration_id: UUID) -> None:
        async with self._database.transaction(tenant_id) as session:
            row = await repository.migration(session, migration_id)
            if row is not None:
                now = datetime.now(UTC)
                await Migrations(session, Requester.of(row), now).finish(migration_id, now)

    async def _give_up(self, tenant_id: UUID, migration_id: UUID, reasons: list[dict[str, Any]]) -> None:
        async with self._database.transaction(tenant_id) as session:
            row = await repository.migration(session, migration_id)
            if row is not None:
                migrations = Migrations(session, Requester.of(row), datetime.now(UTC))
                await migrations.give_up(migration_id, reasons)
