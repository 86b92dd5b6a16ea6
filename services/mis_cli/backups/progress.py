"""Bars for the steps of a backup or a restoration, on standard error; none for machines."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from mis_cli.backups.making import Steps
from mis_cli.backups.manifest import Hear


@contextmanager
def stepping(*, as_json: bool) -> Iterator[Steps]:
    """Yield what the steps are told to."""
    columns = (TextColumn("{task.description:<16}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as bar:

        def step(name: str, size: int | None) -> Hear:
            task = bar.add_task(name, total=size)
            return lambda done: bar.advance(task, done)

        yield step
