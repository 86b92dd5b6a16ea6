"""Child processes that neither outlive their launcher nor hinder the next one.

A launcher can die without a word (`kill -9`). On Linux the kernel then signals its children; everywhere,
the next launcher finds what is left by its working directory, which is the one thing a server cannot share
with a stranger's process, unlike a recycled process id.
"""

import ctypes
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil

_PR_SET_PDEATHSIG = 1
# Servers get a bare environment: the launcher's may hold secrets, and its locale would leak into the cluster.
_ENVIRONMENT: Mapping[str, str] = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedServerError(RuntimeError):
    """An embedded server cannot start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and group a server runs as when the launcher is root."""

    uid: int
    gid: int


def server_identity() -> Identity | None:
    """Return whom Postgres has to run as: `nobody` where we are root, else None, ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedServerError(
            "Postgres refuses to run as root, and this machine has no user `nobody` to run it as. "
            "Start as an ordinary user, or set the MIS_…_DATABASE_URL settings to a server of your own."
        ) from None
    return Identity(nobody.pw_uid, nobody.pw_gid)


def free_port() -> int:
    """Return a TCP port that was free on the loopback a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(
    command: Sequence[str | Path],
    *,
    identity: Identity | None = None,
    stdin: str = "",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Run a program of a server's to its end and return its output; a failure carries what it said."""
    done = subprocess.run(  # noqa: S603 - the programs are those of our own dependencies.
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        text=True,
        env={**_ENVIRONMENT, **environment},
        cwd="/",
        check=False,
        user=identity.uid if identity else None,
        group=identity.gid if identity else None,
        extra_groups=[] if identity else None,
    )
    if done.returncode != 0:
        raise EmbeddedServerError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    on_parent_death: signal.Signals,
    identity: Identity | None = None,
    stdin: str = "",
) -> subprocess.Popen[bytes]:
    """Start a server in its own session, so that Ctrl-C reaches the launcher alone, which stops it in order.

    Call it from a thread that lives as long as the server should: the death signal follows the thread.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the programs are those of our own dependencies.
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=dict(_ENVIRONMENT),
            cwd="/",
            start_new_session=True,
            preexec_fn=_death_signal(on_parent_death),
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
        )
    if process.stdin is not None:
        # A server that died at once reads nothing; its log says why.
        with suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(stdin.encode())
    return process


def end(process: subprocess.Popen[bytes], signals: Sequence[signal.Signals], patience: float = 20.0) -> None:
    """Ask the process to end, each time more firmly, waiting `patience` seconds between."""
    for number in (*signals, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        break


def leftovers(directory: Path, prefixes: tuple[str, ...]) -> list[psutil.Process]:
    """Return the servers that still run in the directory, left by a launcher that was killed."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name().startswith(prefixes) and process.cwd() == str(directory):
                found.append(process)
        except psutil.Error:
            continue
    return found


def end_leftovers(directory: Path, prefixes: tuple[str, ...], first: signal.Signals) -> None:
    """End what still runs in the directory: with `first`, and after ten seconds without mercy."""
    for number in (first, signal.SIGQUIT, signal.SIGKILL):
        remaining = leftovers(directory, prefixes)
        if not remaining:
            return
        for process in remaining:
            # One that ends by itself meanwhile, as a server does after its postmaster, is what we want.
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        psutil.wait_procs(remaining, timeout=10)


def tail(log: Path, lines: int = 12) -> str:
    """Return the end of a server's log for an error message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def _death_signal(number: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number))
        # The parent may have died before the call; then no signal would ever come.
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel
