"""A Citus cluster in the place of the embedded Postgres: the whole suite's tests, on distributed databases.

`MIS_TEST_CITUS_URL` is a superuser's URL of a coordinator that has workers, all on 127.0.0.1, that let one
another in as the suite's roles. Each database is migrated as an ordinary one first and distributed then, as a
deployment's is. Databases of earlier runs, known by their names, are dropped.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from typer.testing import CliRunner

from mis_cli.embedded import DatabaseUrls, PostgresAddress, prepare_database
from mis_cli.main import app
from mis_cli.migrations import ROLES_FILE, upgrade

VARIABLE: Final = "MIS_TEST_CITUS_URL"
SHARDS: Final = 4

_OURS: Final = "select datname from pg_database where datname ~ '^mis_(main|gw[0-9]+)(_|$)'"
_WORKERS: Final = "select nodeport from pg_dist_node where groupid <> 0 and isactive order by 1"


@dataclass(frozen=True, slots=True)
class CitusAddress(PostgresAddress):
    """A coordinator's address; `home` is the database in which its nodes are known."""

    home: str = "postgres"

    @classmethod
    def given(cls, directory: Path) -> "CitusAddress | None":
        """Return the address named by the environment, if there is one; passwords are kept in `directory`."""
        if not (url := os.environ.get(VARIABLE)):
            return None
        parts = urlsplit(url)
        if parts.hostname != "127.0.0.1":
            raise ValueError(f"{VARIABLE} must name a coordinator on 127.0.0.1.")
        password = unquote(parts.password or "")
        return cls(directory, parts.port or 5432, None, password, parts.path.removeprefix("/"))

    def make(self, database: str) -> DatabaseUrls:
        """Make a database, migrate it, and distribute it; call it where no event loop runs."""
        urls = self.make_single(database)
        upgrade(urls.owner)
        self.join_nodes(database)
        distribute(urls)
        return urls

    def make_single(self, database: str) -> DatabaseUrls:
        """Make a database of the coordinator's alone, with the four roles and nothing in it."""
        return prepare_database(self, ROLES_FILE, database)

    def join_nodes(self, database: str) -> None:
        """Bring Citus into a database, as a superuser does before it can be distributed."""
        workers = self.workers()
        for worker in workers:
            worker.query(f"create database {database}")
            worker.query("create extension citus", database=database)
        nodes = "".join(f"select citus_add_node('127.0.0.1', {worker.port});\n" for worker in workers)
        here = f"select citus_set_coordinator_host('127.0.0.1', {self.port});\n"
        self.query(f"create extension citus;\n{here}{nodes}", database=database)

    def workers(self) -> list[PostgresAddress]:
        """Return the addresses of the nodes that keep tenants' rows."""
        ports = self.query(_WORKERS, database=self.home).split()
        return [PostgresAddress(self.directory, int(port), None, self.superuser_password) for port in ports]

    def drop(self, database: str) -> None:
        """Drop a database on every node."""
        for node in (self, *self.workers()):
            node.query(f"drop database if exists {database} with (force)")

    def clean(self) -> None:
        """Drop what earlier runs have made."""
        for node in (self, *self.workers()):
            for database in node.query(_OURS).split():
                node.query(f"drop database {database} with (force)")


def on_cluster() -> bool:
    """Return whether this run's databases are distributed."""
    return VARIABLE in os.environ


# For what looks into the plan of a query: on a cluster that is one of the node's, inside another.
one_postgres = pytest.mark.skipif(on_cluster(), reason="It reads the plans of one Postgres, not of nodes.")


def table_of(relation: str) -> str:
    """Return the table whose rows a relation keeps: on a cluster each part has a number at its end."""
    return relation.rpartition("_")[0] if on_cluster() else relation


@contextmanager
def half_done(citus: CitusAddress, database: str) -> Iterator[None]:
    """Let a node hold a transaction as prepared, as it does when the coordinator alone has committed."""
    node = citus.workers()[0]
    node.query("begin; select pg_current_xact_id(); prepare transaction 'half-done'", database=database)
    try:
        yield
    finally:
        node.query("rollback prepared 'half-done'", database=database)


async def break_rule(connection: asyncpg.Connection, sql: str) -> None:
    """Do what breaks a rule; skip where Citus keeps that rule itself."""
    try:
        await connection.execute(sql)
    except asyncpg.PostgresError as error:
        if on_cluster():
            pytest.skip(f"Citus lets nobody break it: {error}")
        raise


def distribute(urls: DatabaseUrls) -> None:
    """Run `mis distribute`; it must succeed."""
    env = {"MIS_MIGRATION_DATABASE_URL": urls.owner, "MIS_DATABASE_URL": urls.app}
    result = CliRunner().invoke(app, ["distribute", "--json", f"--shards={SHARDS}"], env=env)
    assert result.exit_code == 0, (result.output, result.stderr, result.exception)
