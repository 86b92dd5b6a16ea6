"""Plan migrations on the wire."""

from typing import Any, Self
from uuid import UUID

from pydantic import Field, StrictBool

from mis_http.schemas import Moment, RequestBody, ResponseBody
from mis_models.plan_migrations import PlanMigrationRow
from mis_tenancy.plans import Feature, PlanName
from tenant_service.plan_migration.errors import EraseIsSeparate
from tenant_service.plan_migration.order import EffectiveAt, OnOverLimit, Order, Status


class OptionsIn(RequestBody):
    """How the plan is to be changed."""

    preserve_data: StrictBool = Field(True, description="Always; erasing data is a call of its own.")
    downtime: StrictBool = Field(False, description="Close the tenant (503) while its plan changes.")
    effective_at: EffectiveAt = EffectiveAt.NOW
    on_over_limit: OnOverLimit = Field(
        OnOverLimit.BLOCK,
        description="`freeze` keeps what is above the new limits and lets nothing be added.",
    )


class MigrateIn(RequestBody):
    """The plan to move to."""

    target_plan: PlanName
    migration_options: OptionsIn = Field(default_factory=lambda: OptionsIn.model_validate({}))

    def order(self) -> Order:
        """Return what the body asks for; raise EraseIsSeparate."""
        options = self.migration_options
        if not options.preserve_data:
            raise EraseIsSeparate("migrationOptions.preserveData")
        return Order(self.target_plan, options.downtime, options.effective_at, options.on_over_limit)


class LimitOut(ResponseBody):
    """A limit before and after, null being unlimited; storage and sizes in bytes.

    `used` is what is held, or for `api.rate_limit` today's requests; null for what is not counted.
    """

    limit: str
    used: int | None
    old: int | None
    new: int | None
    over: bool


class KeyChangeOut(ResponseBody):
    """A configuration key whose value in force changes."""

    config_key: str
    old: Any
    new: Any


class OverrideOut(ResponseBody):
    """A value of the tenant's own."""

    config_key: str
    config_value: Any


class ProrationOut(ResponseBody):
    """What the change does to the bill, in US cents.

    `charge` is the rest of the period on the new plan, `unused` what was charged for it on the old one, `net`
    their difference; `dueNow` is what is invoiced at once, `credit` what coming invoices take off. `overage`
    is what a month costs beside `monthlyPrice` for what the tenant holds above the new limits; its share is
    in `charge`, as that of before is in `unused`.
    """

    currency: str
    monthly_price: int | None
    charge: int
    unused: int
    net: int
    due_now: int
    credit: int
    overage: int


class EffectsOut(ResponseBody):
    """What changes with the plan."""

    limits: list[LimitOut]
    features_gained: list[Feature]
    features_lost: list[Feature]
    config_keys_changed: list[KeyChangeOut]
    overrides_kept: list[OverrideOut]
    overrides_dropped: list[OverrideOut]
    proration: ProrationOut


class MigrationOut(EffectsOut):
    """A migration; of a dry run, which is kept nowhere, id and status are null.

    `reasons` are what one that waited failed for: limits, or a `code`.
    """

    migration_id: UUID | None
    status: Status | None
    dry_run: bool
    from_plan: PlanName
    to_plan: PlanName
    effective_at: EffectiveAt
    due_at: Moment
    downtime: bool
    on_over_limit: OnOverLimit
    requested_by: UUID
    reasons: list[dict[str, Any]] | None
    created_at: Moment
    finished_at: Moment | None

    @classmethod
    def of(cls, row: PlanMigrationRow, *, dry_run: bool = False) -> Self:
        """Return the migration as it is shown."""
        return cls(
            **EffectsOut.model_validate(row.effects).model_dump(),
            migration_id=None if dry_run else row.id,
            status=None if dry_run else Status(row.status),
            dry_run=dry_run,
            from_plan=PlanName(row.from_plan),
            to_plan=PlanName(row.to_plan),
            effective_at=EffectiveAt.PERIOD_END if row.at_period_end else EffectiveAt.NOW,
            due_at=row.due_at,
            downtime=row.downtime,
            on_over_limit=OnOverLimit(row.on_over_limit),
            requested_by=row.requested_by,
            reasons=row.reasons,
            created_at=row.created_at,
            finished_at=row.finished_at,
        )
