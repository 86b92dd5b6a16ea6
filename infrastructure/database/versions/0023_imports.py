"""A tenant's imports: which archive was sent, by whom, and what came of it."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

STATUSES = "('receiving', 'queued', 'running', 'completed', 'failed')"
ROLES = "('owner', 'admin', 'member', 'viewer')"


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("requested_role", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("report", postgresql.JSONB(), nullable=True),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(f"status in {STATUSES}", name=op.f("ck_imports_status")),
        sa.CheckConstraint(f"requested_role in {ROLES}", name=op.f("ck_imports_requested_role")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_imports_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_imports")),
    )
    op.create_index(
        "uq_imports_unfinished",
        "imports",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("status in ('queued', 'running')"),
    )
    protect("imports")
    isolate("imports")
    # The worker finds those that were left behind among all tenants, and ends each in its own tenant.
    cross("imports")
    grant("imports", "mis_app", "select, insert, update")
    grant("imports", "mis_platform", "select (tenant_id, id, job_id, status, created_at), delete")


def downgrade() -> None:
    op.drop_table("imports")
