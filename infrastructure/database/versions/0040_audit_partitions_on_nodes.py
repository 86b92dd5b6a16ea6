"""The coming months' partitions of the audit log are made on Citus too, which cannot ask for no column."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

_DEFINITION = sa.text("select pg_get_functiondef('public.ensure_audit_partitions'::regproc)")
# What a table on nodes is asked for they send back, and nothing is no type that could be read again there.
_BEFORE = "exists (select from public.audit_logs_default"
_AFTER = "exists (select 1 from public.audit_logs_default"


def upgrade() -> None:
    _replace(_BEFORE, _AFTER)


def downgrade() -> None:
    _replace(_AFTER, _BEFORE)


def _replace(old: str, new: str) -> None:
    definition: str = op.get_bind().scalar(_DEFINITION)
    if old not in definition:
        raise RuntimeError("The function ensure_audit_partitions is not as revision 0019 has made it.")
    op.get_bind().exec_driver_sql(definition.replace(old, new))
