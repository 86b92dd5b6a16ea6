"""The suite that a load test is for: one that runs already, or one of its own in a process beside it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from mis_cli.load.order import LoadError, Suite
from mis_cli.running.run_record import read_record
from mis_cli.settings import SeedSettings

# Seconds that a new suite may take to start, and to stop.
_START: Final = 120.0
_STOP: Final = 30.0


def elsewhere(settings: SeedSettings, base_url: str) -> Suite:
    """Return the suite at `base_url`; raise SettingsError without an operator to sign in as."""
    return Suite(base_url, *settings.operator())


@asynccontextmanager
async def running_or_own(data_dir: Path) -> AsyncIterator[Suite]:
    """Yield the suite that runs on `data_dir`; where none does, one that lives as long as the block."""
    record = read_record(data_dir)
    if record is not None:
        yield _recorded(record)
        return
    with _place() as place:
        async with _own(place) as suite:
            yield suite


@contextmanager
def _place() -> Iterator[Path]:
    with TemporaryDirectory(prefix="mis-load-") as name:
        place = Path(name)
        # Under root, Postgres runs as another user, who has to walk through.
        place.chmod(0o711)
        yield place


@asynccontextmanager
async def _own(place: Path) -> AsyncIterator[Suite]:
    data_dir, said = place / "data", place / "said.txt"
    command = ("-m", "mis_cli", "run", "--no-demo", "--port", "0", "--data-dir", str(data_dir))
    nowhere = asyncio.subprocess.DEVNULL
    # A session of its own, so that Ctrl-C reaches the test alone, which still has to tidy up.
    with said.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdin=nowhere, stdout=nowhere, stderr=stderr, start_new_session=True
        )
    try:
        async with asyncio.timeout(_START):
            while (record := read_record(data_dir)) is None:
                if process.returncode is not None:
                    raise LoadError(f"A suite for the test did not start: {said.read_text()[-2000:]}")
                await asyncio.sleep(0.2)
        yield _recorded(record)
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(_STOP):
                await process.wait()


def _recorded(record: dict[str, Any]) -> Suite:
    operator = record["operator"]
    return Suite(record["baseUrl"], operator["email"], operator["password"])
