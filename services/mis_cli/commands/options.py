"""Options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(help="Data directory of a running `mis run` to act on, unless MIS_… settings name another."),
]
