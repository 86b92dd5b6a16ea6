"""The worker copies on which days each user was active, so that a range that is over is a row for each user."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect
from sqlalchemy.dialects import postgresql

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_KEPT_DAYS = 430


def upgrade() -> None:
    create(
        "usage_member_days",
        "user_id",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column(
            "days",
            postgresql.BIT(_KEPT_DAYS),
            nullable=False,
            comment="bit n, from the left: a request on the nth day before last_day",
        ),
    )
    create(
        "usage_copied_days",
        "day",
        sa.Column("day", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
    )
    # The worker copies what was before this revision, too. Who was active is the tenant's own: of users the
    # platform sees only what retention and purge go by.
    grant("usage_member_days", "mis_platform", "delete, select (tenant_id, last_day, days), update (days)")
    grant("usage_copied_days", "mis_platform", "select, delete")


def downgrade() -> None:
    op.drop_table("usage_copied_days")
    op.drop_table("usage_member_days")


def create(table: str, key: str, *columns: sa.Column) -> None:
    """Create a tenant's table that the worker fills bound to the tenant and looks over across all."""
    op.create_table(
        table,
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", key, name=op.f(f"pk_{table}")),
    )
    protect(table)
    isolate(table)
    cross(table)
    grant(table, "mis_app", "select, insert, update")
