"""Sign-ins through a tenant's identity provider: who its people are there, and who is on the way."""

import sqlalchemy as sa
from alembic import op
from rights import grant, isolate, protect

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sso_identities",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_sso_identities_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
            name=op.f("fk_sso_identities_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_sso_identities")),
        sa.UniqueConstraint(
            "tenant_id", "issuer", "subject", name=op.f("uq_sso_identities_tenant_id_issuer_subject")
        ),
        sa.UniqueConstraint(
            "tenant_id", "user_id", "issuer", name=op.f("uq_sso_identities_tenant_id_user_id_issuer")
        ),
    )
    op.create_table(
        "sso_attempts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state_hash", sa.LargeBinary(), nullable=False),
        sa.Column("browser_hash", sa.LargeBinary(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("callback", sa.Text(), nullable=False),
        sa.Column("next_path", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_sso_attempts_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_sso_attempts")),
        sa.UniqueConstraint("tenant_id", "state_hash", name=op.f("uq_sso_attempts_tenant_id_state_hash")),
    )
    op.create_index("ix_sso_attempts_expires_at", "sso_attempts", ["tenant_id", "expires_at"])
    for table in ("sso_identities", "sso_attempts"):
        protect(table)
        isolate(table)
        grant(table, "mis_platform", "delete, select (tenant_id, id)")
    # An identity is never another user's or another subject's: it is used, and goes with its user.
    grant("sso_identities", "mis_app", "select, insert, delete, update (last_used_at)")
    grant("sso_attempts", "mis_app", "select, insert, delete")


def downgrade() -> None:
    op.drop_table("sso_attempts")
    op.drop_table("sso_identities")
