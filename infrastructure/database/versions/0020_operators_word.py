"""A version of a configuration key says whether an operator wrote it: his word is a bound for members."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tenant_configuration_versions",
        sa.Column("by_operator", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    # Whoever is no user of the tenant was an operator. A user who has been deleted since is taken for one too:
    # the bound is then the stricter one, and an operator can lift it.
    op.execute(
        """
        update tenant_configuration_versions as version set by_operator = true
         where changed_by is not null
           and not exists (select from users where tenant_id = version.tenant_id and id = version.changed_by)
        """
    )


def downgrade() -> None:
    op.drop_column("tenant_configuration_versions", "by_operator")
