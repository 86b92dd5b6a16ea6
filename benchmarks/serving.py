"""A candidate as a server of its own beside the block."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

from benchmarks.load import Call


@contextmanager
def served(candidate: str, settings: Mapping[str, Any], first: Call) -> Iterator[tuple[int, psutil.Process]]:
    """Yield the candidate's port and process, once it has answered the `first` call."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "benchmarks.serve", candidate, str(listener.fileno())]
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], stdout=subprocess.DEVNULL
        )
        try:
            assert server.stdin is not None
            server.stdin.write(json.dumps(settings).encode())
            server.stdin.close()
            _await_answer(port, first)
            yield port, psutil.Process(server.pid)
        finally:
            server.terminate()
            server.wait(timeout=15)


def _await_answer(port: int, first: Call) -> None:
    """Wait for the candidate; its socket listens from the start, so the first request just waits."""
    deadline = time.monotonic() + 60
    with socket.create_connection(("127.0.0.1", port), timeout=deadline - time.monotonic()) as connection:
        connection.sendall(first.request)
        if not connection.recv(65_536).startswith(f"HTTP/1.1 {first.status}".encode()):
            raise SystemExit(f"The candidate does not answer {first.status}; run it by hand to see why.")
