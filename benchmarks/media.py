"""Run with `python -m benchmarks media`: how fast a large file goes in and out, and in what memory.

A suite of its own is started as a newcomer starts it, with a store on the local disk; one client sends one
file and fetches it again, and then many of the same size together at once. The memory is that of the process
which serves, as the operating system says while it works, against what it was before.
"""

import argparse
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

MIB: Final = 2**20
_PIECE: Final = 256 * 1024
_AT_ONCE: Final = 16
_PASSWORD: Final = "Correct-Horse-7-Battery"  # noqa: S105  # of a suite that lives for a minute
_MEDIA: Final = "/api/v1/media"


def main() -> None:
    """Send and fetch one file each way, and print a line for each."""
    size = _options().size * MIB
    with tempfile.TemporaryDirectory(prefix="mis-bench-") as name, _suite(Path(name)) as (client, process):
        print(f"one file of {size / MIB:,.0f} MiB; the store is a directory")
        print(f"{'work':<22}{'MiB/s':>10}{'seconds':>10}{'RSS growth MiB':>16}")
        for way in ("length", "chunked", "form"):
            with _Memory(process) as memory:
                started = time.perf_counter()
                stored = _sent(client, size, way)
                seconds = time.perf_counter() - started
            print(_line(f"upload ({way})", size, seconds, memory.growth))
        with _Memory(process) as memory:
            started = time.perf_counter()
            _fetch(client, stored, size)
            seconds = time.perf_counter() - started
        print(_line("download", size, seconds, memory.growth))
        with _Memory(process) as memory, ThreadPoolExecutor(_AT_ONCE) as senders:
            started = time.perf_counter()
            statuses = Counter(senders.map(lambda _: _status(client, size // _AT_ONCE), range(_AT_ONCE)))
            seconds = time.perf_counter() - started
        print(_line(f"{_AT_ONCE} uploads at once", size * statuses[201] // _AT_ONCE, seconds, memory.growth))
        print(", ".join(f"{count} answered {status}" for status, count in sorted(statuses.items())))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks media", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="of the file, in MiB")
    return parser.parse_args()


@contextmanager
def _suite(directory: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    port = _free_port()
    command = [sys.executable, "-m", "mis_cli", "run", "--no-demo", "--port", str(port)]
    with (directory / "log").open("wb") as log:
        running = subprocess.Popen(
            [*command, "--data-dir", str(directory / "data")], stdout=log, stderr=log, env=dict(os.environ)
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
            _wait_until_ready(client, running)
            client.headers["Authorization"] = f"Bearer {_owner_token(client, directory / 'data')}"
            yield client, _listener(running.pid, port)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _wait_until_ready(client: httpx.Client, running: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if running.poll() is not None:
            raise SystemExit("The suite did not start.")
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("The suite did not become ready.")


def _owner_token(client: httpx.Client, data: Path) -> str:
    record = json.loads((data / "run.json").read_text())
    operator = _posted(client, "/api/v1/auth/operator/login", record["operator"])["token"]
    owner = {"email": "owner@large.example", "name": "Olga Owner", "password": _PASSWORD}
    tenant = {"name": "Large", "slug": "large", "plan": "custom", "owner": owner}
    _posted(client, "/api/v1/tenants/create", tenant, operator)
    body = {"email": owner["email"], "password": _PASSWORD, "tenantSlug": "large"}
    token: str = _posted(client, "/api/v1/auth/login", body)["token"]
    return token


def _posted(client: httpx.Client, path: str, body: Any, token: str | None = None) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answer = client.post(path, json=body, headers=headers)
    answer.raise_for_status()
    return answer.json()


def _listener(root: int, port: int) -> psutil.Process:
    family = psutil.Process(root)
    for process in (family, *family.children(recursive=True)):
        if any(one.laddr.port == port and one.status == "LISTEN" for one in process.net_connections("tcp")):
            return process
    raise SystemExit("No process of the suite listens on its port.")


def _status(client: httpx.Client, size: int) -> int:
    params = {"filename": "one-of-many.bin"}
    return client.post(_MEDIA, params=params, content=_body(size, b"", b"")).status_code


def _sent(client: httpx.Client, size: int, way: str) -> Any:
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
    tail = b"\r\n--edge--\r\n"
    headers = {"Content-Type": "application/octet-stream"}
    length = size
    if way == "form":
        headers["Content-Type"] = "multipart/form-data; boundary=edge"
        length += len(head) + len(tail)
    else:
        head = tail = b""
    if way != "chunked":
        headers["Content-Length"] = str(length)
    body = _body(size, head, tail)
    answer = client.post(_MEDIA, params={"filename": "large.bin"}, content=body, headers=headers)
    answer.raise_for_status()
    return answer.json()


def _body(size: int, head: bytes, tail: bytes) -> Iterator[bytes]:
    if head:
        yield head
    piece = os.urandom(_PIECE)
    for at in range(0, size, _PIECE):
        yield piece[: size - at]
    if tail:
        yield tail


def _fetch(client: httpx.Client, stored: Any, size: int) -> None:
    digest, fetched = hashlib.sha256(), 0
    with client.stream("GET", f"{_MEDIA}/{stored['id']}/content") as answer:
        answer.raise_for_status()
        for piece in answer.iter_raw():
            digest.update(piece)
            fetched += len(piece)
    if (fetched, digest.hexdigest()) != (size, stored["sha256"]):
        raise SystemExit("What came back is not what was sent.")


def _line(name: str, size: int, seconds: float, growth: int) -> str:
    return f"{name:<22}{size / MIB / seconds:>10,.0f}{seconds:>10.1f}{growth / MIB:>16.1f}"


class _Memory:
    """Looks at a process's resident memory many times a second for as long as its block runs."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._before = self._highest = process.memory_info().rss
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    @property
    def growth(self) -> int:
        """By how many bytes the memory has grown at most."""
        return self._highest - self._before

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self._highest = max(self._highest, self._process.memory_info().rss)


if __name__ == "__main__":
    main()
