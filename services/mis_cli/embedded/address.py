"""Where an embedded Postgres listens, and what can be had there without starting it."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mis_cli.embedded.binaries import postgres_programs
from mis_cli.embedded.cluster import SUPERUSER
from mis_cli.embedded.processes import run


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A running embedded Postgres: the directory of its passwords, its port, its socket's directory."""

    directory: Path
    port: int
    socket_directory: Path | None
    superuser_password: str

    def url(self, role: str, password: str, database: str, *, tcp: bool = False) -> str:
        """Return a `postgresql://` URL, over the faster Unix socket where there is one, unless `tcp`."""
        if tcp or self.socket_directory is None:
            return f"postgresql://{role}:{quote(password)}@127.0.0.1:{self.port}/{database}"
        where = f"host={quote(str(self.socket_directory))}&port={self.port}"
        return f"postgresql://{role}:{quote(password)}@/{database}?{where}"

    @property
    def superuser_url(self) -> str:
        """The superuser's URL over TCP, on the database `postgres`."""
        return self.url(SUPERUSER, self.superuser_password, "postgres", tcp=True)

    def query(self, sql: str, *, database: str = "postgres") -> str:
        """Run SQL as the superuser and return its rows as bare text: for preparing, not for applications."""
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        where = ["--host=127.0.0.1", f"--port={self.port}", f"--username={SUPERUSER}", f"--dbname={database}"]
        psql = postgres_programs(None) / "psql"
        environment = {"PGPASSWORD": self.superuser_password}
        return run([psql, *options, *where], stdin=sql, environment=environment).strip()
