"""A tenant's exports and imports: what was asked for, how far it is, and what came of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Integer, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of


class ExportRow(TenantScoped, Base):
    """One export; its file lies in the object store under its id and the number of the attempt.

    `attempt` counts who began to write it. A worker that lost its lease finds a higher number here and leaves
    the export alone. `error` is `{code, detail}`.
    """

    __tablename__ = "exports"

    id: Mapped[UUID]
    job_id: Mapped[UUID]
    status: Mapped[str]
    format: Mapped[str]
    data_types: Mapped[list[str]]
    requested_by: Mapped[UUID]
    attempt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    progress: Mapped[int] = mapped_column(Integer, server_default=text("0"), comment="percent")
    counts: Mapped[dict[str, Any] | None]
    size: Mapped[int | None]
    sha256: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        one_of("status", "queued", "running", "completed", "failed", "cancelled", "expired"),
        one_of("format", "json", "ndjson", "csv"),
        # One at a time: whoever comes second meets this index, however close behind.
        Index(
            "uq_exports_unfinished",
            "tenant_id",
            unique=True,
            postgresql_where=text("status in ('queued', 'running')"),
        ),
        Index(
            "ix_exports_expires_at",
            "tenant_id",
            "expires_at",
            postgresql_where=text("status = 'completed'"),
        ),
    )
