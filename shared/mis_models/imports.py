"""A tenant's imports: which archive was sent, by whom, and what came of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped

from mis_tenancy.tables import Base, TenantScoped, one_of


class ImportRow(TenantScoped, Base):
    """One import; its archive lies in the object store under its id until it has ended.

    It is `receiving` until its archive is kept and its job is queued. `requested_role` is the highest role
    that who asked may grant, by which its rows are judged. `error` is `{code, detail}`.
    """

    __tablename__ = "imports"

    id: Mapped[UUID]
    job_id: Mapped[UUID | None]
    status: Mapped[str]
    requested_by: Mapped[UUID]
    requested_role: Mapped[str | None]
    size: Mapped[int | None]
    sha256: Mapped[str | None]
    report: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        one_of("status", "receiving", "queued", "running", "completed", "failed"),
        one_of("requested_role", "owner", "admin", "member", "viewer"),
        Index(
            "uq_imports_unfinished",
            "tenant_id",
            unique=True,
            postgresql_where=text("status in ('queued', 'running')"),
        ),
    )
