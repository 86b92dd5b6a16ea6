"""The empty suite that a benchmark fills: embedded servers, the newest schema, settings."""

import base64
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from mis_cli.embedded import (
    DatabaseUrls,
    EmbeddedPostgres,
    EmbeddedRedis,
    PostgresAddress,
    prepare_database,
)
from mis_cli.migrations import ROLES_FILE, upgrade

ISSUER: Final = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Ground:
    """What there is: servers, the roles' databases, keys, and a directory that is gone afterwards."""

    postgres: PostgresAddress
    urls: DatabaseUrls
    redis_url: str
    directory: Path
    master_keys: str

    @property
    def store(self) -> Path:
        """Where objects lie."""
        return self.directory / "storage"

    @property
    def settings(self) -> dict[str, Any]:
        """Return settings of a service, or of a worker, on this ground."""
        return {
            "database_url": self.urls.app,
            "platform_database_url": self.urls.platform,
            "auth_database_url": self.urls.auth,
            "redis_url": self.redis_url,
            "storage_url": self.store.as_uri(),
            "public_url": ISSUER,
            "master_keys": self.master_keys,
            "spool_dir": str(self.directory / "spool"),
        }

    def ask(self, sql: str, **values: Any) -> None:
        """Run statements, each of which ends its line with a semicolon, as the server's owner."""
        for statement in filter(str.strip, sql.format(**values).split(";\n")):
            self.postgres.query(statement, database="mis_db")

    def lines(self, sql: str) -> list[str]:
        """Return what a query of one column finds."""
        found = str(self.postgres.query(sql, database="mis_db"))
        return [line for line in found.splitlines() if line.strip()]


@contextmanager
def ground() -> Iterator[Ground]:
    """Yield the ground; its servers end with the block."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="mis-bench-")))
        directory.chmod(0o711)
        postgres = stack.enter_context(EmbeddedPostgres(directory / "postgres", durable=False))
        redis = stack.enter_context(EmbeddedRedis(directory / "redis", durable=False))
        urls = prepare_database(postgres.address, ROLES_FILE)
        upgrade(urls.owner)
        master_keys = f"k1:{base64.b64encode(os.urandom(32)).decode()}"
        yield Ground(postgres.address, urls, redis.url, directory, master_keys)
