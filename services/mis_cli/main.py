"""The `mis` command: gathers the commands; what a user can put right ends in a message and exit code 2."""

from typing import Any

import typer
from typer.core import TyperGroup

from mis_cli.commands.audit import app as audit
from mis_cli.commands.keys import app as keys
from mis_cli.commands.migrate import migrate
from mis_cli.commands.run import run
from mis_cli.commands.worker import worker
from mis_cli.embedded import EmbeddedServerError
from mis_cli.launcher import LaunchError
from mis_tenancy.settings import SettingsError

CANNOT_START = 2


class _Commands(TyperGroup):
    """The commands, with one answer to misconfiguration: what is wrong and its fix, no traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (SettingsError, EmbeddedServerError, LaunchError) as error:
            typer.echo(f"mis: {error}", err=True)
            raise typer.Exit(CANNOT_START) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    # A traceback must not show local variables: they hold passwords.
    pretty_exceptions_enable=False,
    help="Run and operate the multi-tenant suite.",
)
app.command()(run)
app.command()(migrate)
app.command()(worker)
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")
