"""Jobs that are due apart from those that are not yet, so that a claim passes neither the latter nor every lane."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("is_due", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.execute("update jobs set is_due = run_at <= now() where state = 'queued'")
    op.drop_index("ix_jobs_claim", table_name="jobs")
    op.drop_index("ix_jobs_running", table_name="jobs")
    op.create_index(
        "ix_jobs_claim",
        "jobs",
        ["lane", "run_at", "id"],
        postgresql_where=sa.text("state = 'queued' and is_due"),
    )
    op.create_index(
        "ix_jobs_later", "jobs", ["run_at"], postgresql_where=sa.text("state = 'queued' and not is_due")
    )
    op.create_index(
        "ix_jobs_running", "jobs", ["leased_by", "lane"], postgresql_where=sa.text("state = 'running'")
    )
    # For operators, who look at what was given up, and at one tenant's jobs.
    op.create_index("ix_jobs_dead", "jobs", ["id"], postgresql_where=sa.text("state = 'dead'"))
    op.create_index("ix_jobs_tenant_id", "jobs", ["tenant_id", "id"])


def downgrade() -> None:
    for name in ("ix_jobs_tenant_id", "ix_jobs_dead", "ix_jobs_running", "ix_jobs_later", "ix_jobs_claim"):
        op.drop_index(name, table_name="jobs")
    op.create_index(
        "ix_jobs_claim", "jobs", ["lane", "run_at", "id"], postgresql_where=sa.text("state = 'queued'")
    )
    op.create_index("ix_jobs_running", "jobs", ["lane"], postgresql_where=sa.text("state = 'running'"))
    op.drop_column("jobs", "is_due")
