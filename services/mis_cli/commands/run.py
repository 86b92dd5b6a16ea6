"""`mis run`: everything on one machine, in the foreground."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mis_cli.demo import seed_demo
from mis_cli.running.announcement import Seed, announce
from mis_cli.running.launcher import launch
from mis_cli.serving.composition import compose
from mis_cli.settings import LauncherSettings

# What fills a new suite where it runs with `--demo`.
DEMO: Final[tuple[Seed, ...]] = (seed_demo,)


def run(
    host: Annotated[str | None, typer.Option(help="Address to listen on (MIS_HOST, 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (MIS_PORT, 8000).")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Directory that keeps all data (MIS_DATA_DIR, .mis).")
    ] = None,
    demo: Annotated[bool, typer.Option(help="Fill it with demo tenants.")] = True,
) -> None:
    """Serve the whole suite until Ctrl-C; Postgres and Redis are embedded where no URL is set for them."""
    options: dict[str, Any] = {"host": host, "port": port, "data_dir": data_dir}
    given = {name: value for name, value in options.items() if value is not None}
    launch(LauncherSettings.read(**given), compose, partial(announce, seeds=DEMO if demo else ()))
