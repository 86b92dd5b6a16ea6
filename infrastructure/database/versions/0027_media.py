"""A tenant's files, and the uploads that are on their way."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "media",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("uploaded_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_media_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "owner_id"],
            ["users.tenant_id", "users.id"],
            name=op.f("fk_media_tenant_id_owner_id"),
            ondelete="SET NULL (owner_id)",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_media")),
    )
    op.create_index("ix_media_owner", "media", ["tenant_id", "owner_id", "id"])
    op.create_table(
        "media_uploads",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'receiving'"), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lapses_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state in ('receiving', 'discarding')", name=op.f("ck_media_uploads_state")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_media_uploads_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_media_uploads")),
    )
    op.create_index("ix_media_uploads_lapses_at", "media_uploads", ["tenant_id", "lapses_at"])
    for table in ("media", "media_uploads"):
        protect(table)
        isolate(table)
    # What is stored never changes.
    grant("media", "mis_app", "select, insert, delete")
    # A purge goes along the keys; what the files are is the tenant's own.
    grant("media", "mis_platform", "select (tenant_id, id), delete")
    grant("media_uploads", "mis_app", "select, insert, update, delete")
    # The worker finds what has lapsed among all tenants, and clears it up in each tenant.
    cross("media_uploads")
    grant("media_uploads", "mis_platform", "select (tenant_id, id, lapses_at), delete")


def downgrade() -> None:
    op.drop_table("media_uploads")
    op.drop_table("media")
    # Nothing else is counted as stored.
    op.execute(
        "update tenant_counters set storage_bytes = 0, files = 0 where storage_bytes <> 0 or files <> 0"
    )
