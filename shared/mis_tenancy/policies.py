"""The SQL that puts a table behind the wall, for the migrations of those who adopt the package.

`tenant_id` is compared with the transaction's setting, without a sub-select, because Citus refuses one. The
setting is '' after a transaction that used it, hence nullif.
"""

from typing import Final

BOUND: Final = "nullif(current_setting('app.tenant_id', true), '')::uuid"
_OWN: Final = f"(tenant_id = {BOUND})"


def protection(table: str) -> tuple[str, ...]:
    """Return the statements, one by one, after which `mis_app` has the bound tenant's rows of `table` alone.

    `table` is spelled as SQL does, with its schema, and is owned by `mis_owner`, which runs them. That role
    goes on seeing all rows, for backfills and dumps; FORCE would otherwise hide them from it. `mis_platform`
    empties the table of a tenant that is purged, bound to that one.
    """
    return (
        f"alter table {table} enable row level security, force row level security",
        f"create policy owner on {table} to mis_owner using (true) with check (true)",
        f"create policy tenant_isolation on {table} to mis_app, mis_platform using {_OWN} with check {_OWN}",
        f"grant select, insert, update, delete on {table} to mis_app",
        f"grant select, delete on {table} to mis_platform",
    )
