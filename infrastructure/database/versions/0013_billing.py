"""Subscriptions and invoices: what tenants pay for, and what they owe.

Tenants from before have no row; the worker opens their subscription within a minute, as of that moment.
"""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

PLANS = "('basic', 'premium', 'enterprise', 'custom')"


def upgrade() -> None:
    subscriptions()
    invoices()
    for table in ("subscriptions", "invoices"):
        protect(table)
        isolate(table)
        # The worker finds whose period has ended and whose invoice is late among all tenants.
        cross(table)
        grant(table, "mis_platform", "select, insert, update, delete")
    grant("subscriptions", "mis_app", "select, insert, update")
    # A tenant's own transaction can cause an invoice, never say that it is paid.
    grant("invoices", "mis_app", "select, insert")


def downgrade() -> None:
    op.drop_table("invoices")
    op.drop_table("subscriptions")


def subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=True),
        sa.Column("contract_price", sa.BigInteger(), nullable=True),
        sa.Column("anchor_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_number", sa.Integer(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("next_plan", sa.Text(), nullable=True),
        sa.Column("credits", postgresql.JSONB(), nullable=False),
        sa.Column("next_invoice", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state in ('trialing', 'active', 'past_due', 'canceled')", name=op.f("ck_subscriptions_state")
        ),
        sa.CheckConstraint(f"plan in {PLANS}", name=op.f("ck_subscriptions_plan")),
        sa.CheckConstraint(f"next_plan in {PLANS}", name=op.f("ck_subscriptions_next_plan")),
        sa.CheckConstraint("price >= 0 and contract_price >= 0", name=op.f("ck_subscriptions_not_negative")),
        sa.CheckConstraint("period_start <= period_end", name=op.f("ck_subscriptions_period")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_subscriptions_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_subscriptions")),
    )


def invoices() -> None:
    op.create_table(
        "invoices",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paid_through", sa.Text(), nullable=True),
        sa.Column("payment_reference", sa.Text(), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind in ('period', 'change')", name=op.f("ck_invoices_kind")),
        sa.CheckConstraint("status in ('open', 'paid', 'void')", name=op.f("ck_invoices_status")),
        sa.CheckConstraint("total >= 0", name=op.f("ck_invoices_not_negative")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_invoices_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("tenant_id", "number", name=op.f("uq_invoices_tenant_id_number")),
    )
    op.create_index(
        "uq_invoices_period",
        "invoices",
        ["tenant_id", "period_start"],
        unique=True,
        postgresql_where=sa.text("kind = 'period'"),
    )
    op.create_index(
        "ix_invoices_open", "invoices", ["tenant_id", "due_at"], postgresql_where=sa.text("status = 'open'")
    )
