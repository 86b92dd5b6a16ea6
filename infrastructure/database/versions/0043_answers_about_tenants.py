"""An operator's kept answer names the tenant that it tells of, so that it goes with the tenant's purge."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Those from before this revision are forgotten within a day.
    op.add_column("platform_idempotency_keys", sa.Column("tenant_id", sa.Uuid()))


def downgrade() -> None:
    op.drop_column("platform_idempotency_keys", "tenant_id")
