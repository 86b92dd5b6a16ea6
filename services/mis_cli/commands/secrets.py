"""`mis secrets`: what a deployment by compose needs to keep to itself."""

from pathlib import Path
from typing import Annotated

import typer

from mis_cli.deployment_secrets import write_secrets


def secrets(
    directory: Annotated[Path, typer.Argument(help="Where each container's files go, a directory for each.")],
) -> None:
    """Make the passwords and the master key of a deployment, once; whatever is there already is kept."""
    write_secrets(directory)
    typer.echo(f"The secrets are in {directory}.", err=True)
