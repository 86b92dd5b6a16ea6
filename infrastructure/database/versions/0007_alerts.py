"""Alerts: what a tenant's people should know of, opened once however many notice it."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# What changes after the opening; the rest of an alert stays as it was opened.
CHANGING = "status, acknowledged_at, acknowledged_by, resolved_at, is_news, told_at, operators_due"


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=True),
        sa.Column("period", sa.Text(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.Uuid(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_news", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("operators_due", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("kind in ('limit', 'health', 'security', 'billing')", name=op.f("ck_alerts_kind")),
        sa.CheckConstraint("severity in ('info', 'warning', 'critical')", name=op.f("ck_alerts_severity")),
        sa.CheckConstraint("status in ('open', 'acknowledged', 'resolved')", name=op.f("ck_alerts_status")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_alerts_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_alerts")),
    )
    once("uq_alerts_unresolved", [], "status <> 'resolved'")
    once("uq_alerts_period", ["period"], "period is not null")
    for name, condition in (("ix_alerts_news", "is_news"), ("ix_alerts_operators_due", "operators_due")):
        op.create_index(name, "alerts", ["tenant_id", "id"], postgresql_where=sa.text(condition))
    protect("alerts")
    isolate("alerts")
    # The worker looks over all tenants for what has come to its end, and tells operators of several at once.
    cross("alerts")
    grant("alerts", "mis_app", f"select, insert, update ({CHANGING})")
    grant("alerts", "mis_platform", f"select, insert, delete, update ({CHANGING})")


def downgrade() -> None:
    op.drop_table("alerts")


def once(name: str, further: list[str], condition: str) -> None:
    """Let no two alerts say the same where `condition` holds; one without a threshold is like another."""
    op.create_index(
        name,
        "alerts",
        ["tenant_id", "kind", "subject", "threshold", *further],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text(condition),
    )
