"""Services may empty their own tenant's jobs, which hold the addresses of mails that wait."""

from alembic import op
from rights import grant

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

PAYLOAD = "update (payload)"


def upgrade() -> None:
    grant("jobs", "mis_app", PAYLOAD)


def downgrade() -> None:
    op.execute(f"revoke {PAYLOAD} on jobs from mis_app")
