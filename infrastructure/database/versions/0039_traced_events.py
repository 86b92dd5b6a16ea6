"""Events and deliveries know where their cause stands in a trace."""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("outbox", "webhook_deliveries"):
        op.add_column(table, sa.Column("traceparent", sa.Text, comment="where its cause stands in a trace"))


def downgrade() -> None:
    for table in ("webhook_deliveries", "outbox"):
        op.drop_column(table, "traceparent")
