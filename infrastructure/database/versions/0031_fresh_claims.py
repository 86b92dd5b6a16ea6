"""The worker looks by itself at claims of domains that are fresh, so it knows when they were made."""

from alembic import op
from rights import grant

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

AGE = "select (claimed_at)"


def upgrade() -> None:
    grant("domain_claims", "mis_platform", AGE)


def downgrade() -> None:
    op.execute(f"revoke {AGE} on domain_claims from mis_platform")
