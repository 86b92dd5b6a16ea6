"""Jobs know where their cause stands in a trace."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.Text, comment="where its cause stands in a trace"))


def downgrade() -> None:
    op.drop_column("jobs", "traceparent")
