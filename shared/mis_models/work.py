"""Work that outlives a request: jobs, the schedules that make them, and events that wait to be passed on."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Index, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, one_of


class JobRow(Base):
    """One unit of background work, for one tenant or (`tenant_id` null) for the platform.

    `lane` is the tenant's id, or the nil UUID for the platform: what a fair claim takes turns over. The
    table stays on the coordinator under Citus and outside the tenant keys, because a fair claim locks
    across tenants; its policy still shows a tenant only its own rows. `is_due` is false while a queued job
    waits for its `run_at`, so that a claim need not pass it.
    """

    __tablename__ = "jobs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID | None]
    lane: Mapped[UUID]
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]]
    state: Mapped[str]
    dedupe_key: Mapped[str | None]
    run_at: Mapped[datetime]
    is_due: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    leased_until: Mapped[datetime | None]
    leased_by: Mapped[str | None]
    last_error: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    traceparent: Mapped[str | None] = mapped_column(comment="where its cause stands in a trace")

    __table_args__ = (
        one_of("state", "queued", "running", "done", "dead"),
        Index("ix_jobs_claim", "lane", "run_at", "id", postgresql_where=text("state = 'queued' and is_due")),
        Index("ix_jobs_later", "run_at", postgresql_where=text("state = 'queued' and not is_due")),
        Index("ix_jobs_running", "leased_by", "lane", postgresql_where=text("state = 'running'")),
        Index("ix_jobs_lease", "leased_until", postgresql_where=text("state = 'running'")),
        Index("ix_jobs_dead", "id", postgresql_where=text("state = 'dead'")),
        Index("ix_jobs_tenant_id", "tenant_id", "id"),
        Index(
            "uq_jobs_dedupe_key",
            "lane",
            "kind",
            "dedupe_key",
            unique=True,
            postgresql_where=text("dedupe_key is not null and state in ('queued', 'running')"),
        ),
    )


class ScheduleRow(Base):
    """When a recurring task last ran; its row lock makes one worker the runner, however many there are.

    `mark` is how far a task that goes along the log of transactions has come.
    """

    __tablename__ = "schedules"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_run_at: Mapped[datetime | None]
    mark: Mapped[int | None]


class OutboxRow(Base):
    """Something that happened to a tenant, in the transaction of its cause; gone once it has been passed on.

    `occurred_at` is by the database's clock, so that it orders what several machines have written.
    Outside the tenant keys for the same reason as `jobs`: whoever passes events on locks across tenants.
    """

    __tablename__ = "outbox"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    type: Mapped[str]
    data: Mapped[dict[str, Any]]
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    traceparent: Mapped[str | None] = mapped_column(comment="where its cause stands in a trace")

    __table_args__ = (Index("ix_outbox_tenant_id", "tenant_id", "id"),)
