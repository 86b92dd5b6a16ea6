"""Past months of usage have their maps added up, so that a year is read in a dozen rows."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_months",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        counts("latency", "by bucket of mis_tenancy.latency"),
        counts("features", "by feature of the plan"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_usage_months_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "month", name=op.f("pk_usage_months")),
    )
    protect("usage_months")
    isolate("usage_months")
    # The worker fills it for all tenants, the months before this revision too.
    cross("usage_months")
    grant("usage_months", "mis_app", "select")
    grant("usage_months", "mis_platform", "select, insert, update, delete")


def downgrade() -> None:
    op.drop_table("usage_months")


def counts(name: str, comment: str) -> sa.Column:
    return sa.Column(
        name, postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False, comment=comment
    )
