"""Run with `make bench`: every candidate once a round, in shuffled order, and a table of medians.

`ARGS=creating` measures the creation of tenants instead of the hottest list.
"""

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.candidates import CANDIDATES, PLAIN_ORM
from benchmarks.creation import CREATING, ONE_BY_ONE, creations
from benchmarks.load import Call, measure
from benchmarks.report import Run, table
from benchmarks.world import World, world

WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a route, who serves it, whom they are compared to, and the calls."""

    title: str
    candidates: Collection[str]
    peer: str
    calls: Callable[[World], Iterator[Call]]


SUBJECTS = {
    "listing": Subject("GET /api/v1/users?limit=20", CANDIDATES, PLAIN_ORM, World.calls),
    "creating": Subject("POST /api/v1/tenants", CREATING, ONE_BY_ONE, creations),
}


def main() -> None:
    """Measure and print; the load and the servers share one processor, the candidate has the other."""
    options = _options()
    subject = SUBJECTS[options.subject]
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory(prefix="mis-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        with world(directory, options.tenants) as given:
            rounds: dict[str, list[Run]] = {candidate: [] for candidate in subject.candidates}
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds} …", file=sys.stderr)
                for candidate in random.sample(list(subject.candidates), len(subject.candidates)):
                    rounds[candidate].append(_run(candidate, given, subject, options))
    print(f"{subject.title}, {options.tenants} tenants, {options.connections} connections")
    print("\n".join(table(rounds, subject.peer)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subject", nargs="?", choices=SUBJECTS, default="listing")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each candidate runs a round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--tenants", type=int, default=200)
    return parser.parse_args()


def _run(candidate: str, given: World, subject: Subject, options: argparse.Namespace) -> Run:
    calls = subject.calls(given)
    with _served(candidate, given, next(calls)) as (port, process):
        asyncio.run(measure(port, calls, options.connections, WARM_UP_SECONDS))
        before = sum(process.cpu_times()[:2])
        measured = asyncio.run(measure(port, calls, options.connections, options.seconds))
        return Run(measured, sum(process.cpu_times()[:2]) - before)


@contextmanager
def _served(candidate: str, given: World, first: Call) -> Iterator[tuple[int, psutil.Process]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "benchmarks.serve", candidate, str(listener.fileno())]
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], stdout=subprocess.DEVNULL
        )
        try:
            assert server.stdin is not None
            server.stdin.write(given.settings.encode())
            server.stdin.close()
            _await_answer(port, first)
            yield port, psutil.Process(server.pid)
        finally:
            server.terminate()
            server.wait(timeout=15)


def _await_answer(port: int, first: Call) -> None:
    """Wait for the candidate; its socket listens from the start, so the first request just waits."""
    deadline = time.monotonic() + 30
    with socket.create_connection(("127.0.0.1", port), timeout=deadline - time.monotonic()) as connection:
        connection.sendall(first.request)
        if not connection.recv(65_536).startswith(f"HTTP/1.1 {first.status}".encode()):
            raise SystemExit(f"The candidate does not answer {first.status}; run it by hand to see why.")


main()
