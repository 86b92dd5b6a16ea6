"""The purge goes along the keys of every tenant table, those of links that were mailed too."""

from alembic import op
from rights import grant

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TABLES = ("account_tokens", "invitations")
KEY = "select (id)"


def upgrade() -> None:
    for table in TABLES:
        grant(table, "mis_platform", KEY)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"revoke {KEY} on {table} from mis_platform")
