"""The migration chain: both directions, one migrator at a time, in step with models and schema.sql."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from uuid import UUID

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from mis_cli.embedded import DatabaseUrls, database_urls
from mis_cli.embedded.binaries import postgres_programs
from mis_cli.embedded.processes import run
from mis_cli.migrations import DATABASE_FILES, ROLES_FILE, upgrade
from mis_cli.schema import SCHEMA_FILE, schema_sql
from mis_tenancy.database import Database
from mis_tenancy.tables import Base
from tests.database import connected
from tests.isolation.catalogue import (
    function_violations,
    policy_violations,
    reach_violations,
    tenant_table_violations,
)
from tests.servers import TestServers

MakeDatabase = Callable[[], DatabaseUrls]
SCRIPTS = ScriptDirectory.from_config(Config(DATABASE_FILES / "alembic.ini"))
CHAIN = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]
PG_DUMP = postgres_programs(None) / "pg_dump"
SUBSCRIBED = """
insert into subscriptions (tenant_id, state, plan, price, anchor_at, period_number, period_start, period_end,
                           cancel_at_period_end, credits, next_invoice, version)
values ($1, 'active', $2, $3, '2026-01-01', 0, '2026-01-01', '2026-02-01', false, '[]', 9, 1)
"""
INVOICED = """
insert into invoices (tenant_id, id, number, kind, status, period_start, period_end, lines, total, currency,
                      issued_at, due_at)
values ($1, gen_random_uuid(), $2, $3, $4, '2026-01-01', '2026-02-01', $5, 0, 'USD', now(), now())
"""


@pytest.fixture
def empty(test_servers: TestServers) -> Iterator[MakeDatabase]:
    """Make databases with the four roles and nothing in them."""
    made: list[str] = []
    numbers = count()

    def make() -> DatabaseUrls:
        made.append(f"empty{next(numbers)}")
        return test_servers.empty_database(made[-1])

    yield make
    for name in made:
        test_servers.drop_database(name)


def downgrade(url: str, revision: str) -> None:
    config = Config(DATABASE_FILES / "alembic.ini")
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.downgrade(config, revision)


async def violations(url: str) -> list[str]:
    async with connected(url) as connection:
        checks = (tenant_table_violations, policy_violations, reach_violations, function_violations)
        return [wrong for check in checks for wrong in await check(connection)]


def test_the_chain_has_one_head_and_every_revision_both_directions(empty: MakeDatabase) -> None:
    """Catalogue 45."""
    urls = empty()
    for revision in CHAIN:
        upgrade(urls.owner, revision)
        downgrade(urls.owner, "-1")
        upgrade(urls.owner, revision)
    first = schema_sql(urls.owner, PG_DUMP)
    assert asyncio.run(violations(urls.owner)) == []

    downgrade(urls.owner, "base")
    assert not asyncio.run(tables(urls.owner)) - {"alembic_version"}
    upgrade(urls.owner)
    assert schema_sql(urls.owner, PG_DUMP) == first
    assert asyncio.run(violations(urls.owner)) == []


async def tables(url: str) -> set[str]:
    async with connected(url) as connection:
        found = await connection.fetch(
            "select relname from pg_class where relnamespace = 'public'::regnamespace "
            "and relkind in ('r', 'p')"
        )
    return {row["relname"] for row in found}


def test_a_downgrade_of_the_policies_keeps_the_audit_logs_rows(empty: MakeDatabase) -> None:
    """Catalogue 45."""
    urls = empty()
    upgrade(urls.owner)
    partitions = {name for name in asyncio.run(tables(urls.owner)) if name.startswith("audit_logs_")}
    downgrade(urls.owner, "0001")
    assert partitions <= asyncio.run(tables(urls.owner))


def test_two_migrators_at_once_queue_up(empty: MakeDatabase) -> None:
    urls = empty()
    program = "import sys; from mis_cli.migrations import upgrade; upgrade(sys.argv[1])"
    both = [subprocess.Popen([sys.executable, "-c", program, urls.owner]) for _ in range(2)]  # noqa: S603
    assert [one.wait() for one in both] == [0, 0]
    assert asyncio.run(violations(urls.owner)) == []


@pytest.mark.deep
async def test_a_migrator_waits_longer_for_another_one_than_for_a_table(empty: MakeDatabase) -> None:
    urls = await asyncio.to_thread(empty)
    async with connected(urls.owner) as other:
        await other.execute("select pg_advisory_lock(7201611)")
        waiting = asyncio.create_task(asyncio.to_thread(upgrade, urls.owner))
        # Longer than the lock timeout that holds for tables.
        await asyncio.sleep(6)
        assert not waiting.done()
        await other.execute("select pg_advisory_unlock(7201611)")
        await waiting


@pytest.mark.parametrize("role", ["app", "auth", "platform"])
def test_only_the_owner_migrates(empty: MakeDatabase, role: str) -> None:
    """Catalogue 45."""
    urls = empty()
    with pytest.raises(Exception, match="permission denied for schema public"):
        upgrade(getattr(urls, role))
    assert not asyncio.run(tables(urls.owner))


async def test_the_models_and_the_migrations_describe_the_same_tables(test_servers: TestServers) -> None:
    """Catalogue 45: what `alembic check` asks."""
    urls = await asyncio.to_thread(test_servers.database)
    engine = create_async_engine(
        urls.owner.replace("postgresql:", "postgresql+asyncpg:"), poolclass=pool.NullPool
    )

    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "include_object": is_no_partition}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


def is_no_partition(item: object, name: str | None, *_: object) -> bool:
    return not (name or "").startswith("audit_logs_")


def test_schema_sql_is_what_the_migrations_make(test_servers: TestServers) -> None:
    urls = test_servers.database()
    assert SCHEMA_FILE.read_text() == schema_sql(urls.owner, PG_DUMP), (
        "Stale: run `python -m mis_cli.schema`."
    )


def test_schema_sql_names_no_version_and_no_month() -> None:
    text = SCHEMA_FILE.read_text()
    for volatile in (
        "\\restrict",
        "Dumped",
        "transaction_timeout",
        "audit_logs_2",
        "gen_random_uuid",
        "uuidv7",
    ):
        assert volatile not in text


def test_schema_sql_loads_into_an_empty_database_and_needs_no_migration(
    test_servers: TestServers, empty: MakeDatabase
) -> None:
    urls = empty()
    run(
        [PG_DUMP.with_name("psql"), "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--dbname", urls.owner],
        stdin=SCHEMA_FILE.read_text(),
    )
    upgrade(urls.owner)
    assert schema_sql(urls.owner, PG_DUMP) == SCHEMA_FILE.read_text()
    assert asyncio.run(violations(urls.owner)) == []


async def test_roles_sql_can_be_run_again(test_servers: TestServers) -> None:
    urls = await asyncio.to_thread(test_servers.database)
    name = urls.owner.partition("?")[0].rpartition("/")[2]
    await asyncio.to_thread(test_servers.postgres.query, ROLES_FILE.read_text(), database=name)
    database = Database(database_urls(test_servers.postgres, name).app)
    await database.start()
    await database.stop()


async def test_periods_that_run_when_covers_come_are_known_as_they_were_billed(empty: MakeDatabase) -> None:
    urls = empty()
    (revision,) = (one for one in SCRIPTS.walk_revisions() if one.path.endswith("_paid_as_held.py"))
    await asyncio.to_thread(upgrade, urls.owner, str(revision.down_revision))
    held, moved, void, free = (UUID(int=number) for number in range(1, 5))
    async with connected(urls.owner) as owner:
        for table in ("subscriptions", "invoices"):
            # Whose they are is of no account here.
            await owner.execute(f"alter table {table} drop constraint fk_{table}_tenant_id")
        for tenant, plan, price in (
            *((held, "basic", 2_900), (moved, "premium", 29_900)),
            *((void, "premium", 29_900), (free, "custom", None)),
        ):
            await owner.execute(SUBSCRIBED, tenant, plan, price)
        for tenant, number, kind, status, said in (
            (held, 1, "period", "open", [("Basic plan, then", 2_900), ("Users", 290), ("Less", -500)]),
            (moved, 1, "period", "paid", [("Basic plan, then", 2_900), ("Users", 290)]),
            (moved, 2, "change", "open", [("Basic plan, not used then", -10), ("Premium plan, then", 100)]),
            (void, 7, "period", "void", [("Premium plan, then", 29_900)]),
            (free, 1, "period", "paid", [("Custom plan, then, free until its price is agreed", 0)]),
        ):
            lines = [{"description": one, "amount": amount} for one, amount in said]
            await owner.execute(INVOICED, tenant, number, kind, status, json.dumps(lines))
        await asyncio.to_thread(upgrade, urls.owner)
        rows = await owner.fetch("select overage, covers from subscriptions order by tenant_id")
    known = [(row["overage"], json.loads(row["covers"])) for row in rows]
    assert known == [
        (290, [{"invoice": 1, "rate": 3_190, "left": 3_190, "returned": 0, "void": False}]),
        (0, []),
        (0, [{"invoice": None, "rate": 29_900, "left": 0, "returned": 0, "void": True}]),
        (0, []),
    ]
