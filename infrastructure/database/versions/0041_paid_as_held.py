"""What is held above a plan is paid for as long as it is held, and what a void invoice charged is no credit.

A period that runs unchanged is known as it was billed. Within one that has seen a change, only its invoices
know what was held above the plan: until it ends the month that was paid for it stays paid for.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

# Spelled as text, because what makes JSON of values is not immutable, and Citus updates by nothing else.
# The charges of a period's invoice are what is not taken off: its plan first, then what was above it.
_BACKFILL = """
update subscriptions s
   set overage = i.charged - s.price,
       covers = ('[{"invoice": ' || case when i.status = 'open' then i.number::text else 'null' end
           || ', "rate": ' || i.charged::text
           || ', "left": ' || case when i.status = 'void' then '0' else i.charged::text end
           || ', "returned": 0, "void": ' || case when i.status = 'void' then 'true' else 'false' end
           || '}]')::jsonb
  from (select tenant_id, number, status, period_start, lines,
               (select sum((line ->> 'amount')::bigint) from jsonb_array_elements(lines) line
                 where (line ->> 'amount')::bigint > 0) charged
          from invoices where kind = 'period') i
 where i.tenant_id = s.tenant_id and i.period_start = s.period_start
   and (i.lines -> 0 ->> 'amount')::bigint = s.price
   and i.lines -> 0 ->> 'description' like initcap(s.plan) || ' plan, %'
   and i.charged >= s.price
   and not exists (select 1 from invoices c
                    where c.tenant_id = s.tenant_id and c.kind = 'change' and c.period_end = s.period_end)
"""


def upgrade() -> None:
    op.add_column(
        "subscriptions", sa.Column("overage", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column(
        "subscriptions",
        sa.Column("covers", postgresql.JSONB(), nullable=False, server_default=sa.text("'[]'")),
    )
    op.create_check_constraint(op.f("ck_subscriptions_overage"), "subscriptions", "overage >= 0")
    op.execute(_BACKFILL)


def downgrade() -> None:
    op.drop_constraint(op.f("ck_subscriptions_overage"), "subscriptions")
    op.drop_column("subscriptions", "covers")
    op.drop_column("subscriptions", "overage")
