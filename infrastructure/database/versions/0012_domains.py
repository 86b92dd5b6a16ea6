"""Domains are claimed by many and proven by one: only a verified domain is unique, and each claim has a token."""

import sqlalchemy as sa
from alembic import op
from rights import cross, grant, isolate, protect

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

VERIFIED = "uq_tenants_verified_domain"


def upgrade() -> None:
    op.drop_constraint("uq_tenants_domain", "tenants", type_="unique")
    op.create_index(
        VERIFIED,
        "tenants",
        ["domain"],
        unique=True,
        postgresql_where=sa.text("domain_verified_at is not null and status <> 'purged'"),
    )
    op.create_table(
        "domain_claims",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "problem in ('record_missing', 'lookup_failed')", name=op.f("ck_domain_claims_problem")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_domain_claims_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_domain_claims")),
    )
    protect("domain_claims")
    isolate("domain_claims")
    # The worker looks for the claims of all tenants whose time for a check has come.
    cross("domain_claims")
    grant("domain_claims", "mis_app", "select, insert, update, delete")
    grant("domain_claims", "mis_platform", "insert, delete, select (tenant_id, checked_at, failing_since)")
    # Random without an extension: 122 bits of a version 4 UUID.
    op.execute(
        "insert into domain_claims (tenant_id, token, claimed_at) "
        "select id, replace(gen_random_uuid()::text, '-', ''), now() from tenants where domain is not null"
    )


def downgrade() -> None:
    op.drop_table("domain_claims")
    op.drop_index(VERIFIED, table_name="tenants")
    # Before, a domain was its first claimant's, proven or not.
    op.execute(
        "update tenants t set domain = null where domain_verified_at is null and exists ("
        " select from tenants o where o.domain = t.domain and o.id <> t.id"
        " and (o.domain_verified_at is not null or o.id < t.id))"
    )
    op.create_unique_constraint("uq_tenants_domain", "tenants", ["domain"])
