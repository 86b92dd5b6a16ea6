"""`mis keys`: the master keys of a deployment."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from mis_cli.master_keys import rotate
from mis_cli.settings import MasterKeySettings
from mis_tenancy.settings import MasterKeys

SOMETHING_IS_LEFT = 1

app = typer.Typer(no_args_is_help=True, help="Master keys, which wrap tenants' keys and sign audit seals.")


@app.callback()
def keys() -> None:
    """Keep `rotate-master` a command of its own name, although it is the only one."""


@app.command("rotate-master")
def rotate_master(
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Bring all that older master keys wrap or sign under the first of MIS_MASTER_KEYS.

    Exit code 1 says that something is under a key that is not in the list, or was tampered with: keep the old
    keys until it is looked at.
    """
    settings = MasterKeySettings.read()
    master_keys = MasterKeys.parse(settings.master_keys)
    columns = (TextColumn("{task.description:<26}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as bar:
        tasks: dict[str, TaskID] = {}

        def show(table: str, total: int, done: int) -> None:
            if table not in tasks:
                tasks[table] = bar.add_task(table, total=total)
            bar.update(tasks[table], completed=done)

        tallies = asyncio.run(rotate(settings.migration_database_url, master_keys, show))
    refused = {table: tally.refused for table, tally in tallies.items() if tally.refused}
    if as_json:
        outcome = {
            "current": master_keys.current_id,
            "tables": {t: asdict(one) for t, one in tallies.items()},
        }
        typer.echo(msgspec.json.encode(outcome).decode())
    else:
        typer.echo(
            f"{sum(tally.renewed for tally in tallies.values())} now under {master_keys.current_id!r}."
        )
    if refused:
        typer.echo(f"mis: no key at hand fits these; keep the old master keys: {refused}", err=True)
        raise typer.Exit(SOMETHING_IS_LEFT)
