"""The suite's database in an embedded Postgres: made on first use, with its roles and their passwords."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mis_cli.embedded.address import PostgresAddress
from mis_cli.embedded.secrets import generated

DATABASE: Final = "mis_db"
ROLES: Final = ("mis_owner", "mis_app", "mis_auth", "mis_platform")


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """One `postgresql://` URL per role, on one database."""

    owner: str
    app: str
    auth: str
    platform: str


def prepare_database(postgres: PostgresAddress, roles: Path, database: str = DATABASE) -> DatabaseUrls:
    """Create the database where it is missing, run the roles' SQL file in it, return the roles' URLs."""
    # Both names come from this file, never from input.
    if not postgres.query(f"SELECT 1 FROM pg_database WHERE datname = '{database}'"):  # noqa: S608
        postgres.query(f"CREATE DATABASE {database}")
    passwords = generated(postgres.directory / "roles.json", ROLES)
    set_passwords = "".join(f"ALTER ROLE {role} PASSWORD '{passwords[role]}';\n" for role in ROLES)
    postgres.query(f"{roles.read_text()}\n{set_passwords}", database=database)
    return database_urls(postgres, database)


def database_urls(postgres: PostgresAddress, database: str = DATABASE, *, tcp: bool = False) -> DatabaseUrls:
    """Return the roles' URLs on a database of a running server."""
    passwords = generated(postgres.directory / "roles.json", ROLES)
    urls = {role: postgres.url(role, passwords[role], database, tcp=tcp) for role in ROLES}
    return DatabaseUrls(
        owner=urls["mis_owner"], app=urls["mis_app"], auth=urls["mis_auth"], platform=urls["mis_platform"]
    )
