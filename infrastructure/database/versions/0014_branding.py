"""Branding: a tenant's own name, colours and logo, as its sign-in shows them."""

import sqlalchemy as sa
from alembic import op
from rights import grant, isolate, protect
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tenant_branding",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("colors", postgresql.JSONB(), nullable=False),
        sa.Column("logo_id", sa.Uuid(), nullable=True),
        sa.Column("logo_type", sa.Text(), nullable=True),
        sa.Column("logo_size", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "logo_type in ('image/png', 'image/jpeg', 'image/webp')",
            name=op.f("ck_tenant_branding_logo_type"),
        ),
        sa.CheckConstraint(
            "(logo_id is null) = (logo_type is null) and (logo_id is null) = (logo_size is null)",
            name=op.f("ck_tenant_branding_whole_logo"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_branding_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenant_branding")),
    )
    protect("tenant_branding")
    isolate("tenant_branding")
    grant("tenant_branding", "mis_app", "select, insert, update, delete")
    grant("tenant_branding", "mis_platform", "delete, select (tenant_id)")


def downgrade() -> None:
    op.drop_table("tenant_branding")
