"""`mis audit`: care of the audit logs."""

import asyncio

import typer

from mis_cli.renumbering import renumber
from mis_cli.settings import MigrationSettings

app = typer.Typer(no_args_is_help=True, help="Care of the audit logs.")


@app.callback()
def audit() -> None:
    """Keep `renumber` a command of its own name, although it is the only one."""


@app.command("renumber")
def renumber_transactions() -> None:
    """Fit a restored audit log to its new server: after a logical dump is loaded, before services start."""
    moved = asyncio.run(renumber(MigrationSettings.read().migration_database_url))
    typer.echo("Renumbered." if moved else "The log fits this server already.")
