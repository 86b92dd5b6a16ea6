"""A tenant's probes of the last day, which its health and its uptime are told from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BOUND = "nullif(current_setting('app.tenant_id', true), '')::uuid"
VERDICTS = "('healthy', 'degraded', 'unhealthy')"


def upgrade() -> None:
    op.create_table(
        "tenant_probes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("database_passed", sa.Boolean(), nullable=False),
        sa.Column("redis_passed", sa.Boolean(), nullable=False),
        sa.Column("storage_passed", sa.Boolean(), nullable=False),
        sa.Column("api_passed", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("response_us", sa.BigInteger(), nullable=True),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint(f"verdict in {VERDICTS}", name=op.f("ck_tenant_probes_verdict")),
        sa.CheckConstraint(f"status in {VERDICTS}", name=op.f("ck_tenant_probes_status")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_probes_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "at", name=op.f("pk_tenant_probes")),
    )
    op.execute("alter table tenant_probes enable row level security")
    op.execute("alter table tenant_probes force row level security")
    policy("owner", "mis_owner", "true")
    policy("tenant_isolation", "mis_app, mis_platform", f"tenant_id = {BOUND}")
    # The worker chooses whom to probe next among all tenants.
    policy("platform", "mis_platform", "true")
    op.execute("grant select, insert, delete on tenant_probes to mis_app")
    op.execute("grant select, delete on tenant_probes to mis_platform")


def downgrade() -> None:
    op.drop_table("tenant_probes")


def policy(name: str, roles: str, condition: str) -> None:
    """Create a policy whose USING and WITH CHECK are the same condition."""
    op.execute(
        f"create policy {name} on tenant_probes to {roles} using ({condition}) with check ({condition})"
    )
