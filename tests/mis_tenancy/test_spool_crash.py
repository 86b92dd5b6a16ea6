"""Processes killed at random moments while they record: every promise they made is kept, once."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from mis_tenancy.audit import Recorder, Spool
from mis_tenancy.database import Database
from mis_tenancy.spool.writing import spool_directories
from tests.mis_tenancy import spool_child
from tests.mis_tenancy.spool_fixtures import (
    LINES,
    Ledger,
    SpoolServer,
    opened_database,
    opened_ledger,
    spool_server,
)
from tests.servers import TestServers

SEED = 138


@pytest.fixture(scope="session")
def server(test_servers: TestServers) -> SpoolServer:
    return spool_server(test_servers)


@pytest.fixture
async def database(server: SpoolServer) -> AsyncIterator[Database]:
    async with opened_database(server.app_url) as database:
        yield database


@pytest.fixture
async def ledger(server: SpoolServer) -> AsyncIterator[Ledger]:
    async with opened_ledger(server) as ledger:
        yield ledger


async def promises_until_killed(directory: Path, url: str, seed: int, tenants: list[UUID]) -> list[list[str]]:
    """Run a child, kill it after a random number of promises, and return all that it had made by then."""
    arguments = [str(directory), url, str(seed), *map(str, tenants)]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", spool_child.__name__, *arguments),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(spool_child.__file__).parents[2],
    )
    assert child.stdout is not None
    said = b""
    enough = random.Random(seed).randrange(1, 300_000)  # picks when to kill
    while len(said) < enough:
        some = await child.stdout.read(65536)
        assert some, "The child ended by itself."
        said += some
    os.kill(child.pid, signal.SIGKILL)
    said += await child.stdout.read()
    await child.wait()
    # The last line can be torn, as the pipe's reader sees it; then it was not said.
    return [line.split() for line in said.decode().split("\n")[:-1]]


def held_to(promises: list[list[str]]) -> tuple[set[UUID], dict[UUID, str]]:
    admitted = {UUID(words[1]) for words in promises if words[0] == "A"}
    finished = {UUID(words[1]): f"status {words[2]}" for words in promises if words[0] == "F"}
    return admitted, finished


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.deep)])
async def test_no_promise_of_a_killed_process_is_lost_or_kept_twice(
    rounds: int, tmp_path: Path, server: SpoolServer, database: Database, ledger: Ledger
) -> None:
    """Catalogue 138, the part of the records."""
    tenants = [await ledger.new_tenant() for _ in range(3)]
    admitted, finished = set[UUID](), dict[UUID, str]()
    for number in range(rounds):
        # Two at a time, so that a living one adopts what a dead one leaves while it writes itself.
        made = await asyncio.gather(
            *(
                promises_until_killed(tmp_path, server.app_url, SEED + 10 * number + twin, tenants)
                for twin in range(2)
            )
        )
        for promises in made:
            some_admitted, some_finished = held_to(promises)
            admitted |= some_admitted
            finished |= some_finished
    recorder = Recorder(Spool(tmp_path, 2**26, "successor", LINES), database)
    await recorder.start()
    async with asyncio.timeout(60):
        while len(spool_directories(tmp_path)) > 1:  # noqa: ASYNC110  # another task does it, silently
            await asyncio.sleep(0.05)
    await recorder.stop()
    assert os.listdir(tmp_path) == []
    told = await ledger.outcomes()
    assert {identifier: told[identifier] for identifier in finished} == finished
    assert admitted <= told.keys()
    # The process can die between the call and the saying of it, once each; all else was promised.
    assert len(told.keys() - admitted) <= 2 * rounds
    assert len(finished) > 1000
    await ledger.assert_agrees_with_the_log()
