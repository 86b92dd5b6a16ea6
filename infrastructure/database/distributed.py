"""Revisions on Citus: a new table of tenants' rows is spread as it is made, beside the others.

A revision says `op.create_table(…)` wherever it runs. On a distributed database a table that refers to one on
the nodes can only be made without its foreign keys, then be spread, and get its keys last.
"""

from typing import Any

from alembic.ddl.postgresql import PostgresqlImpl
from sqlalchemy import Connection, Table, text
from sqlalchemy.schema import AddConstraint

from mis_cli.distribution.layout import COLUMN, spread_names

# A table that stands where all are to stand; none where the database is not distributed.
_ANCHOR = "select min(logicalrelid::regclass::text) from pg_dist_partition where partmethod = 'h'"


class DistributedImpl(PostgresqlImpl):
    """Alembic's words for Postgres, of which `create_table` knows Citus; its definition registers it."""

    __dialect__ = "postgresql"

    def create_table(self, table: Table, **options: Any) -> None:
        """Make a table, and spread it where that is due."""
        anchor = self._anchor() if table.name in spread_names() else None
        if anchor is None:
            super().create_table(table, **options)
            return
        super().create_table(table, include_foreign_key_constraints=[], **options)
        self._exec(
            text("select create_distributed_table(:name, :column, colocate_with => :anchor)").bindparams(
                name=table.name, column=COLUMN, anchor=anchor
            )
        )
        for key in table.foreign_key_constraints:
            self._exec(AddConstraint(key))

    def _anchor(self) -> str | None:
        connection = self.connection
        if not isinstance(connection, Connection) or not connection.scalar(
            text("select exists (select from pg_extension where extname = 'citus')")
        ):
            return None
        found: str | None = connection.scalar(text(_ANCHOR))
        return found
