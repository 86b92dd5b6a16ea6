"""Runs the whole suite in the foreground of one process, from provisioning to a clean stop."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer
import uvloop
from starlette.types import ASGIApp

from mis_cli.embedded import DirectoryLock
from mis_cli.running.provisioning import Provisions, make_data_directory, provision
from mis_cli.running.run_record import RunRecord
from mis_cli.serving.server import Server
from mis_cli.settings import LauncherSettings
from mis_http.service.settings import ServiceSettings
from mis_tenancy.logging import configure_logging

Compose = Callable[[ServiceSettings], ASGIApp]


@dataclass(frozen=True, slots=True)
class RunningSuite:
    """A suite that answers requests: its URL, what it stands on, its record."""

    base_url: str
    provisions: Provisions
    record: RunRecord


WhenReady = Callable[[RunningSuite], Awaitable[None]]


class LaunchError(RuntimeError):
    """The suite cannot be started; the message says why and what to do."""


class Stopped(BaseException):
    """The user or the system asked us to stop."""


def launch(settings: LauncherSettings, compose: Compose, when_ready: WhenReady) -> None:
    """Serve until Ctrl-C or SIGTERM, then stop everything that was started.

    Raises LaunchError, EmbeddedServerError or SettingsError where it does not come that far.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    stack = ExitStack()
    try:
        _serve_suite(settings, compose, when_ready, stack)
    except Stopped:
        typer.echo("Stopping …", err=True)
    finally:
        # A second Ctrl-C must not interrupt the stopping itself.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stack.close()


def _serve_suite(
    settings: LauncherSettings, compose: Compose, when_ready: WhenReady, stack: ExitStack
) -> None:
    listener = stack.enter_context(listen(settings.host, settings.port))
    data = make_data_directory(settings.data_dir)
    stack.enter_context(DirectoryLock(data))
    base_url = base_url_of(listener)
    provisions = provision(settings, base_url, stack)
    record = RunRecord(data, base_url, provisions)
    stack.callback(record.remove)
    app = compose(provisions.services)
    log_to_file(stack, data / "mis.log")
    suite = RunningSuite(base_url, provisions, record)
    uvloop.run(_serve(app, listener, lambda: when_ready(suite)))


def log_to_file(stack: ExitStack, file: Path) -> None:
    """Send log lines to `file`, anew at each start: the terminal is for what the user must read."""
    # Who asked for what, and from where, is this user's to read.
    file.touch(mode=0o600)
    configure_logging("mis", stream=stack.enter_context(file.open("w", buffering=1, encoding="utf-8")))


async def _serve(app: ASGIApp, listener: socket.socket, announce: Callable[[], Awaitable[None]]) -> None:
    server = Server(app)

    async def announce_when_ready() -> None:
        await server.ready.wait()
        await announce()

    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    announcing = asyncio.ensure_future(announce_when_ready())
    done, _ = await asyncio.wait({serving, announcing}, return_when=asyncio.FIRST_COMPLETED)
    if announcing in done and announcing.exception() is not None:
        server.should_exit = True
    await serving
    # A suite that is stopping is not talked to any more.
    announcing.cancel()
    with suppress(asyncio.CancelledError):
        await announcing
    if not server.started:
        raise LaunchError("The services did not start; the lines above say why.")


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; a taken port raises LaunchError before anything else was started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Listening claims the port; who connects early waits until the services are ready.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise LaunchError(
            f"Cannot listen on {host} port {port}: {error.strerror}. "
            "Choose another with --port (or MIS_PORT), or stop what uses it."
        ) from error
    return listener


def base_url_of(listener: socket.socket) -> str:
    """Return the URL under which this machine reaches the listener."""
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound.
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped
