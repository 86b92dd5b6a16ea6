"""Makes the change that was scheduled for a period's end, before the next period is billed.

It happens in the renewal's own transaction, so the next period is the new plan's from its first moment. What
the tenant uses is looked at anew: where that is too much, it stays on its plan and is told why.
"""

import asyncio
from datetime import datetime
from typing import Final
from uuid import UUID

from mis_models.billing import SubscriptionRow
from mis_tenancy.database import Database
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from mis_tenancy.turns import lock_tenant
from tenant_service.billing.repository import lock_subscription
from tenant_service.plan_migration import repository
from tenant_service.plan_migration.change import PlanChange
from tenant_service.plan_migration.downtime import SETTLED, leave_to_job
from tenant_service.plan_migration.errors import OverPlanLimits
from tenant_service.plan_migration.order import Requester, Status

_OPEN: Final = TenantStatus.ACTIVE.value


class ScheduledMigrations:
    """What billing asks at a period's end; `database` is the application role's."""

    def __init__(self, database: Database, *, settled: float = SETTLED) -> None:
        self._database = database
        self._settled = settled

    async def prepare(self, tenant_id: UUID, now: datetime) -> None:
        """Close the tenant for a change that is due and wants it closed."""
        async with self._database.transaction(tenant_id) as session:
            tenant = await lock_tenant(session)
            subscription = await lock_subscription(session)
            row = await repository.pending(session)
            if subscription is None or row is None or row.status != Status.SCHEDULED or not row.downtime:
                return
            if subscription.period_end > now or tenant.status != _OPEN:
                return
            PlanChange(session, tenant, subscription, row).close(now)
            await leave_to_job(session, row, now)
        await asyncio.sleep(self._settled)

    async def take(
        self, session: TenantSession, tenant: TenantRow, subscription: SubscriptionRow, now: datetime
    ) -> None:
        """Make the change that waits for the end of the running period, or say why not."""
        row = await repository.pending(session)
        if row is None or not row.at_period_end:
            return
        change, actor = PlanChange(session, tenant, subscription, row), Requester.of(row)
        try:
            await change.make(actor, subscription.period_end, now)
        except OverPlanLimits as refusal:
            await change.fail(actor, refusal.members["limits"], now)
