"""A tenant's exports: what was asked for, how far each is, and until when its file is kept."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATUSES = "('queued', 'running', 'completed', 'failed', 'cancelled', 'expired')"


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("data_types", postgresql.JSONB(), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("progress", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="percent"),
        sa.Column("counts", postgresql.JSONB(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(f"status in {STATUSES}", name=op.f("ck_exports_status")),
        sa.CheckConstraint("format in ('json', 'ndjson', 'csv')", name=op.f("ck_exports_format")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_exports_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_exports")),
    )
    op.create_index(
        "uq_exports_unfinished",
        "exports",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("status in ('queued', 'running')"),
    )
    op.create_index(
        "ix_exports_expires_at",
        "exports",
        ["tenant_id", "expires_at"],
        postgresql_where=sa.text("status = 'completed'"),
    )
    protect("exports")
    isolate("exports")
    # The worker finds those that are due among all tenants, and ends each in its own tenant.
    cross("exports")
    grant("exports", "mis_app", "select, insert, update")
    grant("exports", "mis_platform", "select (tenant_id, id, job_id, status, expires_at), delete")


def downgrade() -> None:
    op.drop_table("exports")
