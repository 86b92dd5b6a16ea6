"""Records of purges, which end as certificates, and the public keys that verify those."""

import sqlalchemy as sa
from alembic import op
from rights import grant
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deletion_certificates",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("requested_by_kind", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("keys_shredded", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("redis_keys", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("objects", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failure", postgresql.JSONB(), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("certificate", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_deletion_certificates")),
    )
    op.create_table(
        "certificate_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("jwk", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_certificate_keys")),
    )
    grant("deletion_certificates", "mis_platform", "select, insert, update")
    grant("certificate_keys", "mis_platform", "select, insert")
    # Whoever holds a certificate may verify it.
    grant("certificate_keys", "mis_app", "select")
    op.create_index(
        "ix_tenants_purge_at",
        "tenants",
        ["purge_at"],
        postgresql_where=sa.text("status = 'pending_deletion'"),
    )


def downgrade() -> None:
    op.drop_index("ix_tenants_purge_at", table_name="tenants")
    op.drop_table("certificate_keys")
    op.drop_table("deletion_certificates")
