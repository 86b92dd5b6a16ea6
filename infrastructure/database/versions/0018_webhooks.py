"""Webhooks, what is on its way to them, and the lanes in which they wait for their turn."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

EVERYTHING = "select, insert, update, delete"


def upgrade() -> None:
    # One clock says in which order a tenant's events happened, whichever machines wrote them down.
    op.alter_column("outbox", "occurred_at", server_default=sa.text("clock_timestamp()"))
    webhooks()
    deliveries()
    lanes()


def downgrade() -> None:
    op.drop_table("webhook_lanes")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")
    op.alter_column("outbox", "occurred_at", server_default=None)


def webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.JSONB(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("previous_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status in ('active', 'disabled')", name=op.f("ck_webhooks_status")),
        sa.CheckConstraint(
            "disabled_reason in ('requested', 'gone', 'failing')", name=op.f("ck_webhooks_disabled_reason")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_webhooks_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_webhooks")),
    )
    protect("webhooks")
    isolate("webhooks")
    grant("webhooks", "mis_app", EVERYTHING)
    # Whoever passes events on needs to know who wants them, and neither where they go nor how they are signed.
    grant("webhooks", "mis_platform", "delete, select (tenant_id, id, events, status)")


def deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("response_status", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status in ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_deliveries_status")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_webhook_deliveries_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "webhook_id"],
            ["webhooks.tenant_id", "webhooks.id"],
            name=op.f("fk_webhook_deliveries_tenant_id_webhook_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index("ix_webhook_deliveries_webhook", "webhook_deliveries", ["tenant_id", "webhook_id", "id"])
    op.create_index(
        "ix_webhook_deliveries_pending",
        "webhook_deliveries",
        ["tenant_id", "webhook_id", "next_attempt_at", "id"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    protect("webhook_deliveries")
    isolate("webhook_deliveries")
    grant("webhook_deliveries", "mis_app", EVERYTHING)
    grant("webhook_deliveries", "mis_platform", "insert, delete, select (tenant_id, id, webhook_id)")


def lanes() -> None:
    op.create_table(
        "webhook_lanes",
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_webhook_lanes")),
    )
    op.create_index("ix_webhook_lanes_tenant_id", "webhook_lanes", ["tenant_id"])
    op.create_index(
        "ix_webhook_lanes_due_at", "webhook_lanes", ["due_at"], postgresql_where=sa.text("due_at is not null")
    )
    protect("webhook_lanes")
    isolate("webhook_lanes")
    # The worker gives all tenants' webhooks their turns.
    cross("webhook_lanes")
    grant("webhook_lanes", "mis_app", EVERYTHING)
    grant("webhook_lanes", "mis_platform", EVERYTHING)
