"""Alembic's environment: one chain for one database, run as the owner, one migrator at a time."""

import asyncio
from typing import Any

import distributed  # noqa: F401  # It registers what it says of new tables.
from alembic import context
from sqlalchemy import make_url, pool, text

import mis_models
from mis_cli.migrations import MIGRATION_LOCK
from mis_tenancy.postgres.engines import engine_of

# Importing the whole package is what fills the metadata.
METADATA = mis_models.accounts.UserRow.metadata


def include_object(item: Any, name: str | None, kind: str, reflected: bool, compared_to: Any) -> bool:
    """Leave the partitions of audit_logs out of comparisons; they are made by date, not by the models."""
    return not (kind == "table" and reflected and name is not None and name.startswith("audit_logs_"))


async def connect_and_migrate(url: str) -> None:
    """Migrate over a connection of our own, committed at the end."""
    engine = engine_of(make_url(url), poolclass=pool.NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


def migrate(connection: Any) -> None:
    """Run the wanted revisions in one transaction, with timeouts that spare the traffic beside it."""
    connection.execute(text("set local statement_timeout = '15min'"))
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    # Set after the wait for another migrator, which this timeout would cut short as well.
    connection.execute(text("set local lock_timeout = '5s'"))
    # On Citus, what refers to the directory changes on one connection per node; elsewhere this means nothing.
    connection.execute(text("set local citus.multi_shard_modify_mode = 'sequential'"))
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        include_object=include_object,
        compare_type=True,
        transactional_ddl=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is None:
    asyncio.run(connect_and_migrate(context.config.get_main_option("sqlalchemy.url") or ""))
else:
    migrate(given)
