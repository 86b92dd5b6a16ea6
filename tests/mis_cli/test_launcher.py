"""`mis run` as a process: it comes up, tells where it is, stops cleanly, and starts again after anything."""

import json
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mis_cli.running.launcher import LaunchError, base_url_of, listen

# The launcher with a stand-in for the services, which have tests of their own.
RUN = """
import sys
from functools import partial
from pathlib import Path
from fastapi import FastAPI
from mis_cli.running.announcement import announce
from mis_cli.running.launcher import launch
from mis_cli.settings import LauncherSettings

def compose(settings):
    app = FastAPI()
    app.get("/where")(lambda: {"issuer": settings.public_url, "domains": settings.base_domains})
    return app

settings = LauncherSettings.read(port=0, data_dir=Path(sys.argv[1]))
launch(settings, compose, partial(announce, seeds=()))
"""


@contextmanager
def suite(data: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any], list[str]]]:
    """Run a suite until it has printed its last line; yield the process, its record, what it printed."""
    command = [sys.executable, "-u", "-c", RUN, str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - see RUN.
        assert process.stdout is not None
        printed: list[str] = []
        while not (printed and printed[-1].endswith("/api/v1/plans")):
            line = process.stdout.readline()
            assert line, "It ended before it was ready."
            printed.append(line.rstrip("\n"))
        try:
            yield process, json.loads((data / "run.json").read_text()), printed
        finally:
            # Its servers have to be gone too before their directory can be removed.
            process.terminate()
            process.wait(30)


def test_it_serves_records_itself_and_stops_on_either_signal_keeping_its_secrets(place: Path) -> None:
    operators = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with suite(place / "data") as (process, record, printed):
            answer = httpx.get(f"{record['baseUrl']}/where")
            assert answer.json() == {"issuer": record["baseUrl"], "domains": ["mis.local", "localhost"]}
            assert "server" not in answer.headers
            assert set(record["services"]) == {"tenant", "auth", "user"}
            for private in ("run.json", "mis.log"):
                assert stat.S_IMODE((place / "data" / private).stat().st_mode) == 0o600
            assert any(record["operator"]["password"] in line for line in printed)
            operators.append(record["operator"])
            children = psutil.Process(process.pid).children(recursive=True)
            assert len(children) >= 2
            process.send_signal(number)
            assert process.wait(30) == 0
            assert not (place / "data" / "run.json").exists()
            assert not any(child.is_running() for child in children)
    assert operators[0] == operators[1]


def test_it_starts_again_after_a_kill(place: Path) -> None:
    with suite(place / "data") as (killed, record, printed):
        for line in (line.strip() for line in printed if "curl -s" in line):
            checked = subprocess.run(["/bin/sh", "-n", "-c", line], check=False)  # noqa: S603 - only parsed.
            assert checked.returncode == 0
        killed.kill()
        killed.wait()
        with suite(place / "data") as (_, again, _):
            assert again["operator"] == record["operator"]
            assert httpx.get(f"{again['baseUrl']}/where").status_code == 200


def test_a_taken_port_is_told_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError, match=f"port {port}: .* Choose another with --port"):
            listen("127.0.0.1", port)


def test_a_listener_on_all_addresses_is_reached_on_the_loopback() -> None:
    with listen("0.0.0.0", 0) as listener:  # noqa: S104 - closed again at once.
        assert base_url_of(listener).startswith("http://127.0.0.1:")
