"""The change itself: weighed against the tenant as it is, then made or given up in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mis_accounts.claims import hold_counters
from mis_jobs.outbox import EventType, publish
from mis_models.billing import SubscriptionRow
from mis_models.plan_migrations import PlanMigrationRow
from mis_tenancy.configuration import KNOWN
from mis_tenancy.plans import PLANS, PlanName
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import ConfigurationRow, TenantRow
from mis_tenancy.tenant import TenantStatus
from tenant_service.alerts.book import open_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tenant_service.billing.changes import carry_out, change_to
from tenant_service.billing.proration import Stay
from tenant_service.billing.repository import held
from tenant_service.billing.subscription import credits_of, price_of, stay_for
from tenant_service.configuration import repository as configuration
from tenant_service.plan_migration import repository
from tenant_service.plan_migration.assessment import Assessment, Situation, assess, is_within
from tenant_service.plan_migration.effects import effects_of, shown
from tenant_service.plan_migration.errors import OverPlanLimits
from tenant_service.plan_migration.lowering import lowered
from tenant_service.plan_migration.order import Actor, OnOverLimit, Requester, Status

_FAILED: Final = (
    "A change of plan did not take place; the tenant stays on its plan. The list of migrations says why. "
    "Mend that and ask for the change again."
)


@dataclass(frozen=True, slots=True)
class Weighed:
    """A change of plan against the tenant as it is: what it means, what it costs, and both as JSON."""

    assessment: Assessment
    stay: Stay
    overrides: Mapping[str, ConfigurationRow]
    effects: dict[str, Any]


async def weigh(
    session: TenantSession,
    tenant: TenantRow,
    subscription: SubscriptionRow,
    target: PlanName,
    moment: datetime,
) -> Weighed:
    """Return what moving to `target` at `moment` means."""
    overrides = await configuration.overrides(session, KNOWN)
    found = await held(session)
    situation = Situation(
        plan=PlanName(tenant.plan),
        max_users=tenant.max_users,
        max_storage=tenant.max_storage,
        users=found.users,
        storage_bytes=found.storage_bytes,
        requests_today=await repository.requests_on(session, moment),
        overrides={key: row.config_value for key, row in overrides.items()},
        lowered=await lowered(session, PlanName(tenant.plan)),
    )
    assessment = assess(situation, target)
    price = await price_of(session, target, subscription.contract_price, moment)
    stay = stay_for(target, price, found)
    effects = effects_of(assessment, change_to(subscription, stay, moment), credits_of(subscription))
    return Weighed(assessment, stay, overrides, effects)


class PlanChange:
    """Makes the change of `row`; the rows of tenant and subscription are locked."""

    def __init__(
        self,
        session: TenantSession,
        tenant: TenantRow,
        subscription: SubscriptionRow,
        row: PlanMigrationRow,
    ) -> None:
        self._session = session
        self._tenant = tenant
        self._subscription = subscription
        self._row = row

    async def require_room(self) -> None:
        """Raise OverPlanLimits where the tenant is too large as it is now and is not to be frozen."""
        self._refuse_over(await self._weigh(self._row.due_at))

    async def make(self, actor: Actor, moment: datetime, now: datetime) -> None:
        """Change the plan as of `moment`, and open a tenant that was closed for it; raise OverPlanLimits."""
        counters = await hold_counters(self._session)
        weighed = await self._weigh(moment)
        self._refuse_over(weighed)
        changes = self._renamed(weighed)
        # Whoever waits for the counters has read the limits of the plan before.
        counters.plan = self._row.to_plan
        await self._configure(weighed, actor, now)
        carry_out(self._session, self._subscription, weighed.stay, moment)
        self._over(Status.COMPLETED, now)
        self._row.effects = weighed.effects
        self._tell(actor, changes)

    def close(self, now: datetime) -> None:
        """Close the tenant for as long as the change takes."""
        self._row.status = Status.RUNNING.value
        # `status_since` stays: a second of maintenance is no gap for those who count from it.
        self._tenant.status = TenantStatus.MAINTENANCE.value
        self._aged(now)

    async def fail(self, actor: Actor, reasons: Sequence[dict[str, Any]], now: datetime) -> None:
        """Leave the tenant on its plan, and say why."""
        before = self._row.status
        self._over(Status.FAILED, now)
        self._row.reasons = list(reasons)
        self._subscription.version += 1
        changes = {"status": {"old": before, "new": self._row.status}, "reasons": self._row.reasons}
        actor.record(
            self._session, "migration.failed", resource=f"migrations/{self._row.id}", changes=changes
        )
        cause = Cause(
            AlertKind.BILLING, "migration_failed", Severity.WARNING, _FAILED, period=str(self._row.id)
        )
        await open_alert(self._session, cause)

    async def _weigh(self, moment: datetime) -> Weighed:
        target = PlanName(self._row.to_plan)
        return await weigh(self._session, self._tenant, self._subscription, target, moment)

    def _refuse_over(self, weighed: Weighed) -> None:
        if weighed.assessment.over and self._row.on_over_limit == OnOverLimit.BLOCK:
            raise OverPlanLimits(limits=shown(weighed.assessment.over))

    async def _configure(self, weighed: Weighed, actor: Actor, now: datetime) -> None:
        """Drop what ends with the plan, and write what an operator has lowered and binds again."""
        session, assessment = self._session, weighed.assessment
        for key, value in assessment.dropped.items():
            # Only an operator takes back an operator's word, and a grant's ends here.
            is_grant = not is_within(key, value, PlanName(self._row.from_plan))
            by = Requester(actor.id, actor.kind, is_operator=is_grant)
            await configuration.drop(session, weighed.overrides[key], by=by, now=now)
        by = Requester(actor.id, actor.kind, is_operator=False)
        for key in assessment.kept.keys() - weighed.overrides.keys():
            await configuration.put(session, key, assessment.kept[key], is_encrypted=False, by=by, now=now)

    def _renamed(self, weighed: Weighed) -> dict[str, Any]:
        """Give the tenant's row the new plan and its limits; return what the trail says."""
        tenant, plan = self._tenant, PLANS[weighed.assessment.target]
        after = {"plan": plan.name.value, "max_users": plan.max_users, "max_storage": plan.max_storage}
        changes: dict[str, Any] = {
            name: {"old": getattr(tenant, name), "new": value} for name, value in after.items()
        }
        for name, value in after.items():
            setattr(tenant, name, value)
        changes["config"] = {one.key: {"old": one.old, "new": one.new} for one in weighed.assessment.changed}
        return changes

    def _over(self, status: Status, now: datetime) -> None:
        """End the migration, and the maintenance that was for it."""
        self._row.status, self._row.finished_at = status.value, now
        self._subscription.next_plan = None
        if self._tenant.status == TenantStatus.MAINTENANCE:
            self._tenant.status = TenantStatus.ACTIVE.value
        self._aged(now)

    def _aged(self, now: datetime) -> None:
        """Give the tenant's document a new version, and spread the news of it."""
        self._tenant.version += 1
        self._tenant.updated_at = now
        revoke(self._session, Kind.TENANT, tenant_id=self._tenant.id)

    def _tell(self, actor: Actor, changes: Mapping[str, Any]) -> None:
        row, effects = self._row, self._row.effects
        actor.record(self._session, "tenant.migrated", resource=f"migrations/{row.id}", changes=changes)
        told = {
            "tenantId": str(self._tenant.id),
            "migrationId": str(row.id),
            "fromPlan": row.from_plan,
            "toPlan": row.to_plan,
            "featuresGained": effects["featuresGained"],
            "featuresLost": effects["featuresLost"],
        }
        publish(self._session, EventType.TENANT_MIGRATED, told)
