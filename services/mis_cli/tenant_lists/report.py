"""What an import tells while it runs and at its end: a bar, each refused row, and the sums."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from mis_cli.output import sentence_of, tell
from mis_cli.tenant_lists.files import FileRefused, TenantFile
from mis_cli.tenant_lists.importing import Outcome, RowResult


@contextmanager
def kept_links(path: Path | None) -> Iterator[IO[bytes] | None]:
    """Yield the file that owners' links are added to, for this user's eyes; None where none is named."""
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise FileRefused(f"{path} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        yield file


class ImportReport:
    """Reports an import of `file`: for people on standard error, for machines a line for each row.

    Links by which owners choose a password go to `links`, where there is such a file.
    """

    def __init__(self, file: TenantFile, links: IO[bytes] | None, *, is_trial: bool, as_json: bool) -> None:
        self._file = file
        self._links = links
        self._is_trial = is_trial
        self._as_json = as_json
        self._counts = dict.fromkeys(Outcome, 0)
        self._bar = Progress(
            TextColumn("{task.fields[rows]} rows"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=as_json,
        )
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task("", total=self._file.size, rows=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    @property
    def has_failures(self) -> bool:
        """Whether a row was refused."""
        return self._counts[Outcome.FAILED] > 0

    def add(self, result: RowResult) -> None:
        """Report one row."""
        self._counts[result.outcome] += 1
        if result.owner_invitation is not None and self._links is not None:
            self._links.write(msgspec.json.encode(result.document()) + b"\n")
        if self._as_json:
            typer.echo(msgspec.json.encode(result.document()).decode())
        elif result.problem is not None:
            told = f"row {result.row} ({result.slug or 'no slug'}): {sentence_of(result.problem)}"
            self._bar.console.print(told, markup=False, highlight=False, soft_wrap=True)
        self._bar.update(self._task, completed=self._file.position, rows=sum(self._counts.values()))

    def conclude(self, *, is_stopped: bool) -> None:
        """Tell the sums, and how to go on where the import was stopped."""
        made, present, failed = self._counts.values()
        did = "would be made" if self._is_trial else "made"
        sentence = f"{made} {did}, {present} there already, {failed} refused."
        if is_stopped:
            sentence += " Stopped; run it again to go on."
        document = {outcome.value: count for outcome, count in self._counts.items()}
        tell({**document, "stopped": is_stopped, "dryRun": self._is_trial}, sentence, as_json=self._as_json)
