"""Audit rows keep where a request came from as ciphertext, under keys of their actors that can be destroyed."""

import sqlalchemy as sa
from alembic import op
from rights import grant, isolate, protect

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rows from before keep what they said in `ip` and `user_agent`: they are sealed as they stand.
    op.add_column("audit_logs", sa.Column("origin", sa.LargeBinary(), nullable=True))
    op.create_table(
        "audit_actor_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("master_key_id", sa.Text(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_audit_actor_keys_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_audit_actor_keys")),
    )
    op.create_index("ix_audit_actor_keys_actor", "audit_actor_keys", ["tenant_id", "actor", "id"])
    protect("audit_actor_keys")
    isolate("audit_actor_keys")
    grant("audit_actor_keys", "mis_app", "select, insert, update (wrapped_key, erased_at)")
    # What operators do in a tenant is recorded under keys of theirs; a purge deletes all.
    grant("audit_actor_keys", "mis_platform", "select, insert, delete")


def downgrade() -> None:
    op.drop_table("audit_actor_keys")
    op.drop_column("audit_logs", "origin")
