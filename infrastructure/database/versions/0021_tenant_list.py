"""What the operators' list of tenants is read by, so that a page costs the same among ten and a hundred thousand."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Words as the application folds them, as far as SQL can: the next change of a name makes them exact.
WORDS = r"""
update tenants set search = array_to_tsvector(array(
    select distinct word
      from unnest(array[lower(slug), lower(subdomain), lower(domain)]
                  || regexp_split_to_array(folded.name, '\s+')
                  || regexp_split_to_array(folded.name || ' ' || slug || ' ' || subdomain, '[^[:alnum:]_]+')) word
     where word <> ''))
  from (select id, regexp_replace(normalize(lower(name), nfkd), '[\u0300-\u036f]', '', 'g') as name
          from tenants) folded
 where folded.id = tenants.id
"""


def upgrade() -> None:
    op.add_column("tenants", sa.Column("search", postgresql.TSVECTOR(), nullable=True))
    op.execute("grant update (search) on tenants to mis_app")
    op.execute(WORDS)
    op.create_index("ix_tenants_search", "tenants", ["search"], postgresql_using="gin")
    op.drop_index("ix_tenants_plan", table_name="tenants")
    present = sa.text("(status = 'purged')")
    op.create_index("ix_tenants_present", "tenants", [present, "id"])
    op.create_index("ix_tenants_present_plan", "tenants", [present, "plan", "id"])
    op.create_index("ix_tenants_status_plan", "tenants", ["status", "plan", "id"])


def downgrade() -> None:
    for name in ("status_plan", "present_plan", "present", "search"):
        op.drop_index(f"ix_tenants_{name}", table_name="tenants")
    op.create_index("ix_tenants_plan", "tenants", ["plan", "id"])
    op.execute("revoke update (search) on tenants from mis_app")
    op.drop_column("tenants", "search")
