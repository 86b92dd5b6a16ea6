"""What the probes of a tenant found, kept for a day: its health now, and its uptime."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Integer, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of


class ProbeRow(TenantScoped, Base):
    """One probe in the tenant's context: its checks, the verdict they make, the status after hysteresis.

    `response_us` is the median duration of the `samples` newest requests, of which `errors` failed on our
    side; `details` names each check's duration and, where it failed, why.
    """

    __tablename__ = "tenant_probes"

    at: Mapped[datetime]
    database_passed: Mapped[bool] = mapped_column(Boolean)
    redis_passed: Mapped[bool] = mapped_column(Boolean)
    storage_passed: Mapped[bool] = mapped_column(Boolean)
    api_passed: Mapped[bool] = mapped_column(Boolean)
    verdict: Mapped[str]
    status: Mapped[str]
    samples: Mapped[int] = mapped_column(Integer)
    errors: Mapped[int] = mapped_column(Integer)
    response_us: Mapped[int | None]
    details: Mapped[dict[str, Any]]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "at"),
        one_of("verdict", "healthy", "degraded", "unhealthy"),
        one_of("status", "healthy", "degraded", "unhealthy"),
    )
