"""Where tenants want to be told, what they are told, and whose turn it is to be told next."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, ForeignKeyConstraint, Index, Integer, PrimaryKeyConstraint, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of


class WebhookRow(TenantScoped, Base):
    """An address that a tenant wants some events sent to.

    `secret` and `previous_secret`, which signs beside it until `previous_until`, are ciphertext under the
    tenant's data key. `failing_since` is when the first attempt failed since the last one that succeeded.
    """

    __tablename__ = "webhooks"

    id: Mapped[UUID]
    url: Mapped[str]
    events: Mapped[list[str]]
    status: Mapped[str]
    disabled_reason: Mapped[str | None]
    failing_since: Mapped[datetime | None]
    secret: Mapped[bytes]
    previous_secret: Mapped[bytes | None]
    previous_until: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        one_of("status", "active", "disabled"),
        one_of("disabled_reason", "requested", "gone", "failing"),
    )


class DeliveryRow(TenantScoped, Base):
    """One event on its way to one webhook; its `id` is the `webhook-id` that the receiver sees.

    `body` is what is sent, byte for byte, at each attempt. `next_attempt_at` is set while it is pending.
    """

    __tablename__ = "webhook_deliveries"

    id: Mapped[UUID]
    webhook_id: Mapped[UUID]
    type: Mapped[str]
    body: Mapped[str]
    status: Mapped[str]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    response_status: Mapped[int | None] = mapped_column(SmallInteger)
    error: Mapped[str | None]
    next_attempt_at: Mapped[datetime | None]
    last_attempt_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    traceparent: Mapped[str | None] = mapped_column(comment="where its cause stands in a trace")

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        ForeignKeyConstraint(
            ["tenant_id", "webhook_id"], ["webhooks.tenant_id", "webhooks.id"], ondelete="CASCADE"
        ),
        one_of("status", "pending", "delivered", "failed"),
        Index("ix_webhook_deliveries_webhook", "tenant_id", "webhook_id", "id"),
        Index(
            "ix_webhook_deliveries_pending",
            "tenant_id",
            "webhook_id",
            "next_attempt_at",
            "id",
            postgresql_where=text("status = 'pending'"),
        ),
    )


class WebhookLaneRow(Base):
    """A webhook's place among all that wait to be sent to: one row for each, as long as the webhook lives.

    `due_at` is when the earliest of its deliveries is due, null where none is. While `leased_until` lies
    ahead, one worker sends to it and no other. Like `jobs` it stays outside the tenant keys, because a fair
    claim locks across tenants; its policy still shows a tenant only its own rows.
    """

    __tablename__ = "webhook_lanes"

    webhook_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(index=True)
    due_at: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    failing: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    leased_by: Mapped[str | None]
    leased_until: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_webhook_lanes_due_at", "due_at", postgresql_where=text("due_at is not null")),
    )
