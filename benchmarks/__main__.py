"""Run with `make bench`: every candidate once a round, in shuffled order, and a table of medians."""

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.candidates import CANDIDATES, PLAIN_ORM
from benchmarks.load import measure
from benchmarks.report import Run, table
from benchmarks.world import World, world

WARM_UP_SECONDS = 1.0


def main() -> None:
    """Measure and print; the load and the servers share one processor, the candidate has the other."""
    options = _options()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory(prefix="mis-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        with world(directory, options.tenants) as given:
            rounds: dict[str, list[Run]] = {candidate: [] for candidate in CANDIDATES}
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds} …", file=sys.stderr)
                for candidate in random.sample(list(CANDIDATES), len(CANDIDATES)):
                    rounds[candidate].append(_run(candidate, given, options))
    print(f"GET /api/v1/users?limit=20, {options.tenants} tenants, {options.connections} connections")
    print("\n".join(table(rounds, PLAIN_ORM)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each candidate runs a round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--tenants", type=int, default=200)
    return parser.parse_args()


def _run(candidate: str, given: World, options: argparse.Namespace) -> Run:
    with _served(candidate, given) as (port, process):
        calls = given.calls()
        asyncio.run(measure(port, calls, options.connections, WARM_UP_SECONDS))
        before = sum(process.cpu_times()[:2])
        measured = asyncio.run(measure(port, calls, options.connections, options.seconds))
        return Run(measured, sum(process.cpu_times()[:2]) - before)


@contextmanager
def _served(candidate: str, given: World) -> Iterator[tuple[int, psutil.Process]]:
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
            _await_answer(port, given)
            yield port, psutil.Process(server.pid)
        finally:
            server.terminate()
            server.wait(timeout=15)


def _await_answer(port: int, given: World) -> None:
    """Wait for the candidate; its socket listens from the start, so the first request just waits."""
    deadline = time.monotonic() + 30
    with socket.create_connection(("127.0.0.1", port), timeout=deadline - time.monotonic()) as connection:
        connection.sendall(given.calls()[0].request)
        if not connection.recv(65_536).startswith(b"HTTP/1.1 200"):
            raise SystemExit("The candidate does not answer 200; run it by hand to see why.")


main()
