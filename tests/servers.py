"""One Postgres and one Redis per test run, shared by all its workers; a database per worker.

The controlling process starts and stops the servers; workers learn of them through xdist's `workerinput`. The
first worker that needs a database migrates a template, under a lock, and each worker's own is a copy of it.
"""

import fcntl
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from mis_cli.embedded import (
    DatabaseUrls,
    EmbeddedPostgres,
    EmbeddedRedis,
    PostgresAddress,
    database_urls,
    prepare_database,
)
from mis_cli.migrations import ROLES_FILE, upgrade
from mis_tenancy.postgres.poolers import Pooler
from tests.citus import CitusAddress
from tests.poolers import MISSING, PoolerAddress, TransactionPooler, pgbouncer
from tests.redis_cluster import RedisCluster

TEMPLATE: Final = "mis_template"
_INPUT: Final = "mis_servers"
_PLUGIN: Final = "mis-servers"
# Enough server connections that statements meet others than those that they were prepared on.
_POOLER_SIZE: Final = 12


@dataclass(frozen=True, slots=True)
class TestServers:
    """What one worker needs to know of the run's servers."""

    __test__: ClassVar[bool] = False

    postgres: PostgresAddress
    redis_url: str
    worker: str
    pooler: PoolerAddress | None = field(default=None, kw_only=True)

    def services(self, name: str | None = None) -> DatabaseUrls:
        """Return the URLs of `database` as services get them: through the run's pooler, if it has one."""
        direct = self.database(name)
        return direct if self.pooler is None else self.pooler.services(direct)

    def database(self, name: str | None = None) -> DatabaseUrls:
        """Return the URLs of this worker's database, or of a further one, `name`, made on first use.

        A test that changes what others rely on (policies, roles' grants) takes one of its own.
        """
        database = "_".join(filter(None, ("mis", self.worker, name)))
        with self._alone():
            if isinstance(self.postgres, CitusAddress):
                self._distributed(self.postgres, database)
                return database_urls(self.postgres, database)
            self._make_template()
            if not self._exists(database):
                self.postgres.query(f"CREATE DATABASE {database} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
                # The copy has the template's tables and grants, but no grants on the database itself.
                prepare_database(self.postgres, ROLES_FILE, database)
        return database_urls(self.postgres, database)

    def empty_database(self, name: str) -> DatabaseUrls:
        """Make a further database with the four roles and nothing in it, and return its URLs."""
        with self._alone():
            return prepare_database(self.postgres, ROLES_FILE, f"mis_{self.worker}_{name}")

    def drop_database(self, name: str) -> None:
        """Drop a further database, with the sessions still on it."""
        if isinstance(self.postgres, CitusAddress):
            self.postgres.drop(f"mis_{self.worker}_{name}")
            return
        self.postgres.query(f"DROP DATABASE IF EXISTS mis_{self.worker}_{name} WITH (FORCE)")

    def _make_template(self) -> None:
        if self._exists(TEMPLATE):
            return
        draft = f"{TEMPLATE}_draft"
        self.postgres.query(f"DROP DATABASE IF EXISTS {draft} WITH (FORCE)")
        owner_url = prepare_database(self.postgres, ROLES_FILE, draft).owner
        # In a thread, because the chain runs a loop of its own and an asynchronous fixture may be asking.
        with ThreadPoolExecutor(max_workers=1) as thread:
            thread.submit(upgrade, owner_url).result()
        # A migration that fails leaves a draft; only a migrated database gets the name.
        self.postgres.query(f"ALTER DATABASE {draft} RENAME TO {TEMPLATE}")

    def _distributed(self, citus: CitusAddress, database: str) -> None:
        if not self._exists(database):
            # In a thread, as above; a distributed database cannot be copied.
            with ThreadPoolExecutor(max_workers=1) as thread:
                thread.submit(citus.make, database).result()

    def _exists(self, database: str) -> bool:
        found = self.postgres.query(f"SELECT 1 FROM pg_database WHERE datname = '{database}'")  # noqa: S608
        return bool(found)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # Roles belong to the whole server, so two workers must not prepare databases at the same time.
        with (self.postgres.directory / "workers.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class ServersPlugin:
    """Starts the servers in the controlling process and tells the workers where they are."""

    def __init__(self, handed_over: dict[str, Any] | None) -> None:
        self._handed_over = handed_over
        self._directory: Path | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._redis: EmbeddedRedis | RedisCluster | None = None
        self._pooler: TransactionPooler | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        if self._handed_over is not None or session.config.option.collectonly:
            return
        # Not below pytest's own directory, which is closed to the user that Postgres runs as under root.
        self._directory = Path(tempfile.mkdtemp(prefix="mis-tests-"))
        self._directory.chmod(0o711)
        redis_url = self._start_redis(session.config.getoption("redis_cluster"), self._directory / "redis")
        address = self._start_postgres(self._directory / "postgres")
        self._handed_over = {
            "directory": str(address.directory),
            "port": address.port,
            "sockets": str(address.socket_directory or ""),
            "password": address.superuser_password,
            "redis": redis_url,
            "home": address.home if isinstance(address, CitusAddress) else "",
        }
        if session.config.getoption("pooler"):
            self._pooler = TransactionPooler(
                address, self._directory / "pooler", size=_POOLER_SIZE, statements=200
            )
            self._handed_over["pooler"] = [self._pooler.address.port, self._pooler.address.pooler]

    def _start_redis(self, is_cluster: bool, directory: Path) -> str:
        if is_cluster:
            self._redis = RedisCluster()
            return self._redis.start().url
        self._redis = EmbeddedRedis(directory, durable=False)
        return self._redis.start()

    def _start_postgres(self, directory: Path) -> PostgresAddress:
        if (citus := CitusAddress.given(directory)) is not None:
            directory.mkdir()
            citus.clean()
            return citus
        self._postgres = EmbeddedPostgres(directory, durable=False)
        return self._postgres.start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[_INPUT] = json.dumps(self._handed_over)

    def pytest_unconfigure(self) -> None:
        if self._pooler is not None:
            self._pooler.stop()
        if self._redis is not None:
            self._redis.stop()
        if self._postgres is not None:
            self._postgres.stop()
        if self._directory is not None:
            remove_server_directory(self._directory)

    def servers(self, worker: str) -> TestServers:
        """Return the servers as seen by a worker, whose Redis is a database of its own if it can be."""
        if self._handed_over is None:
            raise pytest.UsageError("The embedded servers start with the session; ask for them in a fixture.")
        given = self._handed_over
        number = int(worker.removeprefix("gw")) if worker.startswith("gw") else 0
        sockets = Path(given["sockets"]) if given["sockets"] else None
        where = (Path(given["directory"]), given["port"], sockets, given["password"])
        address = CitusAddress(*where, given["home"]) if given["home"] else PostgresAddress(*where)
        pooler = PoolerAddress(given["pooler"][0], Pooler(given["pooler"][1])) if "pooler" in given else None
        # Of a cluster there is one database, which all share.
        redis_url = re.sub(r"/0$", f"/{number}", given["redis"])
        return TestServers(address, redis_url, worker, pooler=pooler)


def add_options(parser: pytest.Parser) -> None:
    """Add the servers' options; for `pytest_addoption` in conftest.py."""
    help_text = "put a PgBouncer in transaction mode between the services under test and Postgres"
    parser.addoption("--pooler", action="store_true", help=help_text)
    help_text = "put a Redis Cluster of three primaries in the place of one Redis"
    parser.addoption("--redis-cluster", action="store_true", help=help_text)


def register(config: pytest.Config) -> None:
    """Add the plugin to a run; for `pytest_configure` in conftest.py."""
    if config.getoption("pooler") and pgbouncer() is None:
        pytest.exit(MISSING, returncode=0)
    text = getattr(config, "workerinput", {}).get(_INPUT)
    config.pluginmanager.register(ServersPlugin(json.loads(text) if text else None), _PLUGIN)


def running_servers(config: pytest.Config) -> TestServers:
    """Return the run's servers as this worker sees them; for a session fixture in conftest.py."""
    plugin = config.pluginmanager.get_plugin(_PLUGIN)
    assert isinstance(plugin, ServersPlugin), "conftest.py must call register() in pytest_configure."
    return plugin.servers(getattr(config, "workerinput", {}).get("workerid", "main"))


def remove_server_directory(directory: Path) -> None:
    """Remove a directory of stopped servers, and the cluster wherever the directory's link puts it."""
    for link in directory.rglob("cluster"):
        if link.is_symlink():
            shutil.rmtree(link.resolve().parent)
    shutil.rmtree(directory)
