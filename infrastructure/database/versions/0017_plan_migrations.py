"""Changes of plan: those that were made, and the one that waits; and which plan the counters follow."""

import sqlalchemy as sa
from alembic import op
from rights import grant, isolate, protect
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

PLANS = "('basic', 'premium', 'enterprise', 'custom')"
STATUSES = "('completed', 'scheduled', 'running', 'failed', 'canceled')"


def upgrade() -> None:
    op.create_table(
        "plan_migrations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("from_plan", sa.Text(), nullable=False),
        sa.Column("to_plan", sa.Text(), nullable=False),
        sa.Column("at_period_end", sa.Boolean(), nullable=False),
        sa.Column("downtime", sa.Boolean(), nullable=False),
        sa.Column("on_over_limit", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("requested_as", sa.Text(), nullable=False),
        sa.Column("effects", postgresql.JSONB(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(f"status in {STATUSES}", name=op.f("ck_plan_migrations_status")),
        sa.CheckConstraint(f"from_plan in {PLANS}", name=op.f("ck_plan_migrations_from_plan")),
        sa.CheckConstraint(f"to_plan in {PLANS}", name=op.f("ck_plan_migrations_to_plan")),
        sa.CheckConstraint(
            "on_over_limit in ('block', 'freeze')", name=op.f("ck_plan_migrations_on_over_limit")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_plan_migrations_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_plan_migrations")),
    )
    op.create_index(
        "uq_plan_migrations_pending",
        "plan_migrations",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("status in ('scheduled', 'running')"),
    )
    protect("plan_migrations")
    isolate("plan_migrations")
    grant("plan_migrations", "mis_app", "select, insert, update")
    grant("plan_migrations", "mis_platform", "select, delete")
    op.add_column("tenant_counters", sa.Column("plan", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("tenant_counters", "plan")
    op.drop_table("plan_migrations")
