"""Moves a tenant from plan to plan in one transaction: limits, configuration, bill, trail and news together.

The tenant's row is locked first, so that migrations, changes of configuration and billing take turns; then
its counters, so that nobody claims a seat against the old limits (see `mis_accounts.seats`). What is refused
is refused before anything is changed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from mis_http.pages import Page
from mis_models.billing import SubscriptionRow
from mis_models.plan_migrations import PlanMigrationRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import PlanName
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from tenant_service.billing.errors import SubscriptionEnded, SubscriptionNotFound
from tenant_service.billing.repository import subscription as subscription_of
from tenant_service.billing.subscription import State
from tenant_service.billing.upkeep import current
from tenant_service.errors import operators_only
from tenant_service.lifecycle.errors import TenantStateConflict
from tenant_service.plan_migration import repository
from tenant_service.plan_migration.change import PlanChange, weigh
from tenant_service.plan_migration.errors import (
    MigrationNotFound,
    MigrationNotScheduled,
    MigrationPending,
    PlanUnchanged,
)
from tenant_service.plan_migration.order import Actor, EffectiveAt, Order, Status

_MIGRATABLE: Final = frozenset({TenantStatus.ACTIVE, TenantStatus.SUSPENDED})
# As long as a key of a request is kept.
_MARKED_FOR: Final = timedelta(hours=24)
_UNBILLED: Final = (
    "This tenant's subscription has ended, so another plan would not be billed. POST …/billing/resume begins "
    "a new period; change the plan after that."
)


class Migrations:
    """The migrations of the session's tenant, as `actor` asks for them at `now`; its role is `mis_app`."""

    def __init__(self, session: TenantSession, actor: Actor, now: datetime) -> None:
        self._session = session
        self._actor = actor
        self._now = now

    async def forecast(self, order: Order) -> PlanMigrationRow:
        """Return the migration as it would be, kept nowhere; refuse what can never be."""
        tenant = await repository.tenant(self._session)
        subscription = await subscription_of(self._session)
        if subscription is None:
            raise SubscriptionNotFound
        await self._judge(tenant, subscription, order)
        return await self._drafted(tenant, subscription, order)

    async def migrate(self, order: Order) -> PlanMigrationRow:
        """Change the plan, or schedule the change for the period's end, and return the migration.

        Raise what `forecast` raises, and OverPlanLimits for a tenant that is too large and not to be frozen.
        """
        tenant, subscription = await self._held(order)
        row = await self._drafted(tenant, subscription, order)
        self._session.add(row)
        if order.effective_at is EffectiveAt.PERIOD_END:
            self._schedule(subscription, row)
        else:
            change = PlanChange(self._session, tenant, subscription, row)
            await change.make(self._actor, self._now, self._now)
        return row

    async def close(self, order: Order) -> PlanMigrationRow:
        """Put the tenant into maintenance for a change that `finish` makes in a transaction of its own."""
        tenant, subscription = await self._held(order)
        if tenant.status != TenantStatus.ACTIVE:
            raise TenantStateConflict(tenantStatus=tenant.status)
        row = await self._drafted(tenant, subscription, order)
        self._session.add(row)
        change = PlanChange(self._session, tenant, subscription, row)
        await change.require_room()
        change.close(self._now)
        return row

    async def finish(self, migration_id: UUID, now: datetime) -> PlanMigrationRow:
        """Make the change that runs in maintenance, and open the tenant; once, whoever comes first.

        It takes effect `now`, later than it was asked for. Raise OverPlanLimits where the tenant, which then
        stays closed, has outgrown the plan meanwhile, SubscriptionEnded where its subscription has ended.
        """
        tenant, subscription = await current(self._session, now)
        row = await self._one(migration_id)
        if row.status == Status.RUNNING:
            _require_billed(subscription)
            change = PlanChange(self._session, tenant, subscription, row)
            await change.make(self._actor, now, now)
        return row

    async def give_up(self, migration_id: UUID, reasons: Sequence[dict[str, Any]]) -> None:
        """End a running migration without its change, and open the tenant."""
        tenant, subscription = await current(self._session, self._now)
        row = await self._one(migration_id)
        if row.status == Status.RUNNING:
            change = PlanChange(self._session, tenant, subscription, row)
            await change.fail(self._actor, reasons, self._now)

    async def marked(self, mark: bytes) -> PlanMigrationRow | None:
        """Return the migration that an order of that mark has brought about within a day, if there is one."""
        return await repository.marked(self._session, mark, self._now - _MARKED_FOR)

    async def cancel(self, migration_id: UUID) -> None:
        """Take a scheduled migration back; raise MigrationNotFound or MigrationNotScheduled."""
        _, subscription = await current(self._session, self._now)
        row = await self._one(migration_id)
        if row.status != Status.SCHEDULED:
            raise MigrationNotScheduled(migrationStatus=row.status)
        row.status, row.finished_at = Status.CANCELED.value, self._now
        subscription.next_plan = None
        subscription.version += 1
        self._record("migration.canceled", row, {"status": {"old": "scheduled", "new": row.status}})

    async def listed(self, page: Page) -> Sequence[PlanMigrationRow]:
        """Return a page of migrations, and one more where there is more."""
        return await repository.migrations(self._session, page)

    async def _held(self, order: Order) -> tuple[TenantRow, SubscriptionRow]:
        tenant, subscription = await current(self._session, self._now)
        await self._judge(tenant, subscription, order)
        return tenant, subscription

    async def _judge(self, tenant: TenantRow, subscription: SubscriptionRow, order: Order) -> None:
        if order.target is PlanName.CUSTOM and not self._actor.is_operator:
            raise operators_only("Plan custom is agreed with the platform. Ask an operator.")
        pending = await repository.pending(self._session)
        if pending is not None:
            raise MigrationPending(migrationId=str(pending.id), migrationStatus=pending.status)
        if tenant.status not in _MIGRATABLE:
            raise TenantStateConflict(tenantStatus=tenant.status)
        if tenant.plan == order.target:
            raise PlanUnchanged(plan=tenant.plan)
        _require_billed(subscription)

    async def _drafted(
        self, tenant: TenantRow, subscription: SubscriptionRow, order: Order
    ) -> PlanMigrationRow:
        at_period_end = order.effective_at is EffectiveAt.PERIOD_END
        due_at = subscription.period_end if at_period_end else self._now
        weighed = await weigh(self._session, tenant, subscription, order.target, due_at)
        return PlanMigrationRow(
            id=new_id(),
            status=Status.RUNNING.value,
            from_plan=tenant.plan,
            to_plan=order.target.value,
            at_period_end=at_period_end,
            downtime=order.downtime,
            on_over_limit=order.on_over_limit.value,
            due_at=due_at,
            requested_by=self._actor.id,
            requested_as=self._actor.kind,
            mark=order.mark,
            effects=weighed.effects,
            reasons=None,
            created_at=self._now,
            finished_at=None,
        )

    def _schedule(self, subscription: SubscriptionRow, row: PlanMigrationRow) -> None:
        row.status = Status.SCHEDULED.value
        subscription.next_plan = row.to_plan
        subscription.version += 1
        plans = {"plan": {"old": row.from_plan, "new": row.to_plan}}
        self._record("migration.scheduled", row, plans | {"due_at": {"old": None, "new": row.due_at}})

    async def _one(self, migration_id: UUID) -> PlanMigrationRow:
        row = await repository.migration(self._session, migration_id)
        if row is None:
            raise MigrationNotFound
        return row

    def _record(self, action: str, row: PlanMigrationRow, changes: dict[str, Any]) -> None:
        self._actor.record(self._session, action, resource=f"migrations/{row.id}", changes=changes)


def _require_billed(subscription: SubscriptionRow) -> None:
    if subscription.state == State.CANCELED:
        raise SubscriptionEnded(_UNBILLED)
