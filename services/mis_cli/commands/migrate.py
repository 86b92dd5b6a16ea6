"""`mis migrate`: the database of a deployment, brought to the newest revision."""

from mis_cli.migrations import upgrade
from mis_cli.settings import MigrationSettings


def migrate() -> None:
    """Bring the database at MIS_MIGRATION_DATABASE_URL to the newest revision."""
    upgrade(MigrationSettings.read().migration_database_url)
