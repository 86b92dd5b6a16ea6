"""The `mis` command: gathers the commands; what a user can put right ends in a message and exit code 2."""

import socket
import ssl
from typing import Any, Final

import asyncpg
import typer
from sqlalchemy.exc import InterfaceError, OperationalError
from typer.core import TyperGroup

from mis_cli.adoption.running import AdoptionFailed, AdoptionRefused
from mis_cli.backups.errors import BackupFailed, BackupRefused
from mis_cli.commands.adopt import adopt
from mis_cli.commands.audit import app as audit
from mis_cli.commands.backup import backup
from mis_cli.commands.describe import describe
from mis_cli.commands.distribute import distribute
from mis_cli.commands.doctor import doctor
from mis_cli.commands.jobs import app as jobs
from mis_cli.commands.keys import app as keys
from mis_cli.commands.load import load
from mis_cli.commands.migrate import migrate
from mis_cli.commands.operator import app as operator
from mis_cli.commands.placement import isolate, move
from mis_cli.commands.restore import restore
from mis_cli.commands.run import run
from mis_cli.commands.secrets import secrets
from mis_cli.commands.seed import seed
from mis_cli.commands.serve import serve
from mis_cli.commands.tenants import app as tenants
from mis_cli.commands.worker import worker
from mis_cli.embedded import EmbeddedServerError
from mis_cli.exits import AWAY, CANNOT_START, REFUSED
from mis_cli.running.launcher import LaunchError
from mis_cli.tenant_lists.files import FileRefused
from mis_tenancy.redis import RedisError
from mis_tenancy.settings import SettingsError
from mis_tenancy.storage import StorageUnavailable

_UNFIT = (SettingsError, EmbeddedServerError, LaunchError, FileRefused, BackupRefused, AdoptionRefused)
# What drivers raise when the database is not there, is starting, or does not let us in.
_AWAY = (
    OperationalError,
    InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.CannotConnectNowError,
    ConnectionError,
    TimeoutError,
    # There is no such host; it does not prove who it is.
    socket.gaierror,
    ssl.SSLError,
)

_LONGEST_LINE: Final = 300


class _Commands(TyperGroup):
    """The commands, with one answer to what a user can put right: what is wrong and its fix, no traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _UNFIT as error:
            typer.echo(f"mis: {error}", err=True)
            raise typer.Exit(CANNOT_START) from error
        except (BackupFailed, AdoptionFailed) as error:
            typer.echo(f"mis: {error}", err=True)
            raise typer.Exit(REFUSED) from error
        except BrokenPipeError:
            # Whoever read what we print, `head` for one, has had enough.
            raise
        except (StorageUnavailable, RedisError) as error:
            typer.echo(f"mis: {error}{_reason(error)}", err=True)
            raise typer.Exit(AWAY) from error
        except _AWAY as error:
            typer.echo(f"mis: the database cannot be reached ({_named(error)}). Try again.", err=True)
            raise typer.Exit(AWAY) from error


def _named(error: BaseException) -> str:
    """Return what kind of error it is, and of a network's what it says: that holds no secret."""
    kind = type(error).__name__
    return f"{kind}: {error.strerror}" if isinstance(error, OSError) and error.strerror else kind


def _reason(error: BaseException) -> str:
    """Return what the store itself said, in whose second line it names what is wrong."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [] if isinstance(error, StorageUnavailable | RedisError) else str(error).splitlines()[:2]
    return "".join(f"\n  {line[:_LONGEST_LINE]}" for line in lines)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    # A traceback must not show local variables: they hold passwords.
    pretty_exceptions_enable=False,
    help="Run and operate the multi-tenant suite.",
)
app.command()(run)
app.command()(serve)
app.command()(migrate)
app.command()(distribute)
app.command()(worker)
app.command()(secrets)
app.command()(describe)
app.command()(seed)
app.command()(doctor)
app.command()(load)
app.command()(backup)
app.command()(restore)
app.command()(adopt)
tenants.command("isolate")(isolate)
tenants.command("move")(move)
app.add_typer(tenants, name="tenants")
app.add_typer(operator, name="operator")
app.add_typer(jobs, name="jobs")
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")
