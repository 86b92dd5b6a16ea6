"""`mis describe`: the suite's interface as files, for a gateway that keeps files."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from mis_cli.serving.composition import compose
from mis_cli.serving.description import pages_of, unconnected
from mis_http.service.documentation import PAGE

_PAGE_FILE: Final = f"{PAGE}.html"


def describe(
    directory: Annotated[Path, typer.Argument(help="Where openapi.json, docs.html and docs/ go.")],
) -> None:
    """Write the merged description of all services, as `mis run` shows it; nothing is connected to."""
    for path, page in asyncio.run(pages_of(compose(unconnected()))).items():
        file = directory / (_PAGE_FILE if path == PAGE else path).removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(page.content)
    typer.echo(f"The description is in {directory}.", err=True)
