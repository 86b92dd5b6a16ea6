"""Passkeys, and the challenges that registering one and signing in with one answer."""

import sqlalchemy as sa
from alembic import op
from rights import grant, isolate, protect

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

PURPOSES = "purpose in ('second_factor', 'passkey_registration', 'passkey_sign_in')"


def upgrade() -> None:
    op.create_table(
        "passkeys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("user_handle", sa.LargeBinary(), nullable=False),
        sa.Column("rp_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("backed_up", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_passkeys_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
            name=op.f("fk_passkeys_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_passkeys")),
        sa.UniqueConstraint("tenant_id", "credential_id", name=op.f("uq_passkeys_tenant_id_credential_id")),
    )
    op.create_index("ix_passkeys_user", "passkeys", ["tenant_id", "user_id", "id"])
    protect("passkeys")
    isolate("passkeys")
    grant("passkeys", "mis_app", "select, insert, update, delete")
    # The purge goes along the keys.
    grant("passkeys", "mis_platform", "delete, select (tenant_id, id)")
    op.add_column("challenges", sa.Column("session_id", sa.Uuid(), nullable=True))
    op.add_column("challenges", sa.Column("user_handle", sa.LargeBinary(), nullable=True))
    _allow(PURPOSES)


def downgrade() -> None:
    op.execute("delete from challenges where purpose <> 'second_factor'")
    _allow("purpose in ('second_factor')")
    op.drop_column("challenges", "user_handle")
    op.drop_column("challenges", "session_id")
    op.drop_table("passkeys")


def _allow(purposes: str) -> None:
    op.drop_constraint(op.f("ck_challenges_purpose"), "challenges", type_="check")
    op.create_check_constraint(op.f("ck_challenges_purpose"), "challenges", purposes)
