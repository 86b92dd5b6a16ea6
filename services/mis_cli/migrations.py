"""Brings a database to the newest revision, with the one chain that the whole suite shares."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

DATABASE_FILES: Final = Path(__file__).resolve().parents[2] / "infrastructure" / "database"
ROLES_FILE: Final = DATABASE_FILES / "roles.sql"
# Two migrators at once (a rolling deployment, two `mis run`) queue up on this lock instead of colliding.
MIGRATION_LOCK: Final = 7_201_611


def upgrade(migration_url: str, revision: str = "head") -> None:
    """Upgrade the database as the role of `migration_url`, which owns the tables.

    Call it outside an event loop: the chain's environment runs one of its own.
    """
    config = _config()
    # Alembic's configuration interpolates percent signs, which an encoded password contains.
    config.set_main_option("sqlalchemy.url", migration_url.replace("%", "%%"))
    command.upgrade(config, revision)


def head() -> str:
    """Return the newest revision that this program knows."""
    return revisions()[0]


def revisions() -> list[str]:
    """Return every revision that this program knows, newest first."""
    return [one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions()]


def _config() -> Config:
    return Config(DATABASE_FILES / "alembic.ini")
