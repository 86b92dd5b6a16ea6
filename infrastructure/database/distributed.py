"""Revisions on Citus: a new table of tenants' rows is spread as it is made, beside the others.

A revision says `op.create_table(…)` wherever it runs. On a distributed database a table that refers to one on
the nodes can only be made without its foreign keys, then be spread, and get its keys last.
"""

from typing import Any

from alembic.ddl.postgresql import PostgresqlImpl
from sqlalchemy import Connection, Table, text
from sqlalchemy.schema import AddConstraint

from mis_cli.distribution.layout import COLUMN, spread_names
from mis_cli.distribution.together import IS_FOUNDED, tie_sql, tied_names

# A table that stands where all are to stand; none where the database is not distributed.
_ANCHOR = "select min(logicalrelid::regclass::text) from pg_dist_partition where partmethod = 'h'"


class DistributedImpl(PostgresqlImpl):
    """Alembic's words for Postgres, of which `create_table` knows Citus; its definition registers it."""

    __dialect__ = "postgresql"

    def create_table(self, table: Table, **options: Any) -> None:
        """Make a table; where the database is distributed, spread it or tie it to those that are."""
        anchor = self._anchor()
        if anchor is None or table.name not in spread_names():
            super().create_table(table, **options)
            if anchor is not None and table.name in tied_names() and self._is_founded():
                self._exec(text(tie_sql(table.name)))
            return
        super().create_table(table, include_foreign_key_constraints=[], **options)
        self._exec(
            text("select create_distributed_table(:name, :column, colocate_with => :anchor)").bindparams(
                name=table.name, column=COLUMN, anchor=anchor
            )
        )
        for key in table.foreign_key_constraints:
            self._exec(AddConstraint(key))

    def _is_founded(self) -> bool:
        # Where an older `mis distribute` has been, the next one ties this table with all others.
        return self.connection is not None and bool(self.connection.scalar(text(IS_FOUNDED)))

    def _anchor(self) -> str | None:
        connection = self.connection
        if not isinstance(connection, Connection) or not connection.scalar(
            text("select exists (select from pg_extension where extname = 'citus')")
        ):
            return None
        found: str | None = connection.scalar(text(_ANCHOR))
        return found
