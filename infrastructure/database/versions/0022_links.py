"""Links that are mailed: invitations, which hold seats, and tokens that open an account."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_norm", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role in ('owner', 'admin', 'member', 'viewer')", name=op.f("ck_invitations_role")
        ),
        *_keys("invitations"),
        sa.UniqueConstraint("tenant_id", "email_norm", name=op.f("uq_invitations_tenant_id_email_norm")),
    )
    op.create_table(
        "account_tokens",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "purpose in ('password_reset', 'email_change')", name=op.f("ck_account_tokens_purpose")
        ),
        *_keys("account_tokens"),
    )
    for table in ("invitations", "account_tokens"):
        op.create_index(f"ix_{table}_user", table, ["tenant_id", "user_id"])
        op.create_index(f"ix_{table}_expires_at", table, ["tenant_id", "expires_at"])
        protect(table)
        isolate(table)
        # The worker finds what has run out among all tenants; what a link opens is not its business.
        cross(table)
        grant(table, "mis_app", "select, insert, update, delete")
        grant(table, "mis_platform", "delete, select (tenant_id, expires_at)")
    # A new tenant's owner is invited by the role that makes the tenant.
    grant("invitations", "mis_platform", "insert")


def _keys(table: str) -> list[sa.Constraint]:
    return [
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
            name=op.f(f"fk_{table}_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f(f"pk_{table}")),
    ]


def downgrade() -> None:
    op.drop_table("account_tokens")
    # Their seats go with them; accepted ones are users.
    op.execute("update tenant_counters set pending_invitations = 0 where pending_invitations <> 0")
    op.drop_table("invitations")
