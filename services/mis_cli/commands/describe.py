"""`mis describe`: the suite's interface as files, for a gateway that keeps files."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from mis_cli.serving.composition import compose
from mis_cli.serving.description import pages_of, unconnected

_FILES: Final = {"/openapi.json": "openapi.json", "/docs": "docs.html"}


def describe(
    directory: Annotated[Path, typer.Argument(help="Where openapi.json and docs.html go.")],
) -> None:
    """Write the merged description of all services, as `mis run` shows it; nothing is connected to."""
    directory.mkdir(parents=True, exist_ok=True)
    for path, page in asyncio.run(pages_of(compose(unconnected()))).items():
        (directory / _FILES[path]).write_bytes(page.content)
    typer.echo(f"The description is in {directory}.", err=True)
