"""Verifications of users' identity documents: what was found, and until when the picture is kept."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect
from sqlalchemy.dialects import postgresql

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

STATUSES = "('pending', 'verified', 'rejected', 'needs_review', 'failed')"


def upgrade() -> None:
    op.create_table(
        "verifications",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("checks", postgresql.JSONB(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("image_key", sa.LargeBinary(), nullable=True),
        sa.Column("image_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(f"status in {STATUSES}", name=op.f("ck_verifications_status")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_verifications_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
            name=op.f("fk_verifications_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_verifications")),
    )
    op.create_index("ix_verifications_user", "verifications", ["tenant_id", "user_id", "id"])
    op.create_index(
        "ix_verifications_image_until",
        "verifications",
        ["tenant_id", "image_until"],
        postgresql_where=sa.text("image_until is not null"),
    )
    protect("verifications")
    isolate("verifications")
    grant("verifications", "mis_app", "select, insert, update, delete")
    # The worker finds the pictures whose time has come among all tenants, and deletes each in its tenant.
    cross("verifications")
    grant("verifications", "mis_platform", "select (tenant_id, id, image_until), delete")


def downgrade() -> None:
    op.drop_table("verifications")
