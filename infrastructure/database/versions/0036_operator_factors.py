"""Second factors of operators, and resets of owners' ones that an operator has begun."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

COLUMNS = (
    ("totp_secret", sa.LargeBinary()),
    ("totp_key_id", sa.Text()),
    ("totp_last_step", sa.BigInteger()),
    ("totp_confirmed_at", sa.DateTime(timezone=True)),
    ("recovery_codes", sa.ARRAY(sa.LargeBinary())),
)


def upgrade() -> None:
    # Operators belong to no tenant, so what is theirs are columns of the one table that knows them.
    for name, kind in COLUMNS:
        op.add_column("operators", sa.Column(name, kind, nullable=True))
    op.add_column("totp_factors", sa.Column("reset_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("totp_factors", "reset_at")
    for name, _ in reversed(COLUMNS):
        op.drop_column("operators", name)
