"""Terms also stand by their first two letters in the order of the list of users, and each user's by themselves.

The column is generated, so adding it writes the table anew: about ten seconds for a million terms, in which
users can be neither searched nor added.
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    stem = sa.Computed('"left"(term, 2)', persisted=True)
    op.add_column("user_terms", sa.Column("stem", sa.Text(collation="C"), stem, nullable=False))
    op.create_index("ix_user_terms_stem", "user_terms", ["tenant_id", "stem", "user_id", "term"])
    op.drop_index("ix_user_terms_user", table_name="user_terms")
    op.create_index("ix_user_terms_user", "user_terms", ["tenant_id", "user_id", "term"])


def downgrade() -> None:
    op.drop_index("ix_user_terms_user", table_name="user_terms")
    op.create_index("ix_user_terms_user", "user_terms", ["tenant_id", "user_id"])
    op.drop_index("ix_user_terms_stem", table_name="user_terms")
    op.drop_column("user_terms", "stem")
