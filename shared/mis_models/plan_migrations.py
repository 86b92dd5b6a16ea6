"""How a tenant moves from plan to plan."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Index, PrimaryKeyConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of

_PLANS = ("basic", "premium", "enterprise", "custom")


class PlanMigrationRow(TenantScoped, Base):
    """One move from a plan to another: `scheduled` for the period's end, `running` in maintenance, or over.

    `effects` is what it changed, or would have when it was scheduled; `reasons` the limits that it failed
    for. `mark` tells the order that it carries out from all others, where that may be given twice.
    """

    __tablename__ = "plan_migrations"

    id: Mapped[UUID]
    status: Mapped[str]
    from_plan: Mapped[str]
    to_plan: Mapped[str]
    at_period_end: Mapped[bool] = mapped_column(Boolean)
    downtime: Mapped[bool] = mapped_column(Boolean)
    on_over_limit: Mapped[str]
    due_at: Mapped[datetime]
    requested_by: Mapped[UUID]
    requested_as: Mapped[str]
    mark: Mapped[bytes | None]
    effects: Mapped[dict[str, Any]]
    reasons: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        one_of("status", "completed", "scheduled", "running", "failed", "canceled"),
        one_of("from_plan", *_PLANS),
        one_of("to_plan", *_PLANS),
        one_of("on_over_limit", "block", "freeze"),
        # One at a time: whoever wants another plan instead takes the waiting one back first.
        Index(
            "uq_plan_migrations_pending",
            "tenant_id",
            unique=True,
            postgresql_where=text("status in ('scheduled', 'running')"),
        ),
    )
