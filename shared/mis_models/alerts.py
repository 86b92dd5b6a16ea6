"""What a tenant's people, and the platform's staff where it concerns them, should know of without asking."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, Index, Integer, PrimaryKeyConstraint, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of


class AlertRow(TenantScoped, Base):
    """Something that was worth an alert, from its opening to its end.

    `subject` says what of the `kind` it is about, and `threshold` from which percentage on. Where it may be
    told of only once in a `period` (a UTC day, a bill), that stands there; null may open anew whenever it
    has ended. `is_news` marks what nobody has been told by mail yet, `told_at` when somebody last was, and
    `operators_due` what the platform's staff has to be told.
    """

    __tablename__ = "alerts"

    id: Mapped[UUID]
    kind: Mapped[str]
    subject: Mapped[str]
    threshold: Mapped[int | None] = mapped_column(Integer)
    period: Mapped[str | None]
    severity: Mapped[str]
    message: Mapped[str]
    status: Mapped[str]
    opened_at: Mapped[datetime]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[UUID | None]
    resolved_at: Mapped[datetime | None]
    is_news: Mapped[bool] = mapped_column(Boolean, server_default=true())
    told_at: Mapped[datetime | None]
    operators_due: Mapped[bool] = mapped_column(Boolean, server_default=false())

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        one_of("kind", "limit", "health", "security", "billing", "webhook"),
        one_of("severity", "info", "warning", "critical"),
        one_of("status", "open", "acknowledged", "resolved"),
        # These two decide races: however many see a cause at once, one of them opens the alert.
        Index(
            "uq_alerts_unresolved",
            "tenant_id",
            "kind",
            "subject",
            "threshold",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("status <> 'resolved'"),
        ),
        Index(
            "uq_alerts_period",
            "tenant_id",
            "kind",
            "subject",
            "threshold",
            "period",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("period is not null"),
        ),
        Index("ix_alerts_news", "tenant_id", "id", postgresql_where=text("is_news")),
        Index("ix_alerts_operators_due", "tenant_id", "id", postgresql_where=text("operators_due")),
    )
