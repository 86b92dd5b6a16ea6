"""Real Postgres and Redis servers as child processes, for one machine and for the tests.

They are the servers of production, not imitations of them; only how they are started differs.
"""

from mis_cli.embedded.address import PostgresAddress
from mis_cli.embedded.database import ROLES, DatabaseUrls, database_urls, prepare_database
from mis_cli.embedded.locking import DirectoryLock
from mis_cli.embedded.postgres import EmbeddedPostgres
from mis_cli.embedded.processes import EmbeddedServerError
from mis_cli.embedded.redis import EmbeddedRedis

__all__ = [
    "ROLES",
    "DatabaseUrls",
    "DirectoryLock",
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "EmbeddedServerError",
    "PostgresAddress",
    "database_urls",
    "prepare_database",
]
