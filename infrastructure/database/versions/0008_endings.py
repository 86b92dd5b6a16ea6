"""A deletion remembers what it can be taken back to, and when its purge has left no way back."""

import sqlalchemy as sa
from alembic import op
from rights import grant

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Ending a tenant ends everybody's sign-ins there, also where an operator ends it.
ENDED = "select (revoked_at), update (revoked_at, revoked_reason)"


def upgrade() -> None:
    op.add_column("tenants", sa.Column("status_before", sa.Text(), nullable=True))
    op.add_column("tenants", sa.Column("purging_since", sa.DateTime(timezone=True), nullable=True))
    grant("tenants", "mis_app", "update (status_before)")
    grant("sessions", "mis_platform", ENDED)


def downgrade() -> None:
    op.execute(f"revoke {ENDED} on sessions from mis_platform")
    op.drop_column("tenants", "purging_since")
    op.drop_column("tenants", "status_before")
