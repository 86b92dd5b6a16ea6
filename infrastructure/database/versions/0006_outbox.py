"""The outbox: what happened to a tenant, written with its cause, for whoever wants to hear of it."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_tenant_id", "outbox", ["tenant_id", "id"])
    protect("outbox")
    isolate("outbox")
    # The worker takes events of all tenants in turn.
    cross("outbox")
    grant("outbox", "mis_app", "select, insert")
    grant("outbox", "mis_platform", "select, insert, delete")


def downgrade() -> None:
    op.drop_table("outbox")
