"""Audit rows tell their transaction, and seals chain what the transactions of a while have written."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BOUND = "nullif(current_setting('app.tenant_id', true), '')::uuid"
UNBOUND = "nullif(current_setting('app.tenant_id', true), '') is null"


def upgrade() -> None:
    # A stable default is stored once for the rows that are there, so nothing is rewritten.
    op.add_column(
        "audit_logs",
        sa.Column(
            "xid",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
    )
    op.create_index("ix_audit_logs_xid", "audit_logs", ["tenant_id", "xid"])
    # A stretch of the table is summarised once it is full, without waiting for a vacuum.
    op.create_index(
        "ix_audit_logs_newest",
        "audit_logs",
        ["tenant_id", "xid"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": True, "pages_per_range": 32},
    )
    op.add_column("schedules", sa.Column("mark", sa.BigInteger(), nullable=True))
    seals()
    # The worker seals the newest rows of all tenants with one statement. Bound to a tenant, it sees that one's alone.
    op.execute(f"create policy platform on audit_logs for select to mis_platform using ({UNBOUND})")


def downgrade() -> None:
    op.execute("drop policy platform on audit_logs")
    op.drop_table("audit_seals")
    op.drop_column("schedules", "mark")
    op.drop_index("ix_audit_logs_newest", table_name="audit_logs")
    op.drop_index("ix_audit_logs_xid", table_name="audit_logs")
    op.drop_column("audit_logs", "xid")


def seals() -> None:
    op.create_table(
        "audit_seals",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("first_id", sa.Uuid(), nullable=False),
        sa.Column("last_id", sa.Uuid(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("horizon", sa.BigInteger(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("pruned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.Column("link", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_audit_seals_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "seq", name=op.f("pk_audit_seals")),
    )
    op.execute("alter table audit_seals enable row level security")
    op.execute("alter table audit_seals force row level security")
    policy("owner", "mis_owner", "true")
    policy("tenant_isolation", "mis_app, mis_platform", f"tenant_id = {BOUND}")
    policy("platform", "mis_platform", UNBOUND)
    op.execute("grant select on audit_seals to mis_app")
    # Retention turns the last seal it reaches into an anchor.
    op.execute(
        "grant select, insert, delete, update (hash, key_id, pruned, marks) on audit_seals to mis_platform"
    )


def policy(name: str, roles: str, condition: str) -> None:
    """Create a policy whose USING and WITH CHECK are the same condition."""
    op.execute(f"create policy {name} on audit_seals to {roles} using ({condition}) with check ({condition})")
