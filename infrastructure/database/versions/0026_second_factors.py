"""Second factors: authenticator apps, recovery codes, and sign-ins that wait for one of them."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

EVERYTHING = "select, insert, update, delete"


def upgrade() -> None:
    op.create_table(
        "totp_factors",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        *_keys("totp_factors", "user_id"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *_keys("recovery_codes", "id"),
    )
    op.create_index("ix_recovery_codes_user", "recovery_codes", ["tenant_id", "user_id"])
    _challenges()
    for table, key in (("totp_factors", "user_id"), ("recovery_codes", "id")):
        protect(table)
        isolate(table)
        grant(table, "mis_app", EVERYTHING)
        # The purge goes along the keys; what a factor is made of is not the platform's business.
        grant(table, "mis_platform", f"delete, select (tenant_id, {key})")


def _challenges() -> None:
    op.create_table(
        "challenges",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("purpose in ('second_factor')", name=op.f("ck_challenges_purpose")),
        *_keys("challenges", "id"),
    )
    op.create_index("ix_challenges_user", "challenges", ["tenant_id", "user_id"])
    op.create_index("ix_challenges_expires_at", "challenges", ["tenant_id", "expires_at"])
    protect("challenges")
    isolate("challenges")
    # The worker deletes what has run out among all tenants.
    cross("challenges")
    grant("challenges", "mis_app", EVERYTHING)
    grant("challenges", "mis_platform", "delete, select (tenant_id, id, expires_at)")


def _keys(table: str, key: str) -> list[sa.Constraint]:
    return [
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
            name=op.f(f"fk_{table}_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", key, name=op.f(f"pk_{table}")),
    ]


def downgrade() -> None:
    for table in ("challenges", "recovery_codes", "totp_factors"):
        op.drop_table(table)
