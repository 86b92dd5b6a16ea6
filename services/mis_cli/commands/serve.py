"""`mis serve`: one service, or the description of all, in a process of its own, as a container runs it."""

import signal
from enum import StrEnum
from typing import Annotated, Any

import typer
import uvloop

from mis_cli.running.launcher import LaunchError, listen
from mis_cli.serving.composition import PORTS, create_service
from mis_cli.serving.server import Server
from mis_cli.settings import ServingSettings

ServiceName = StrEnum("ServiceName", list(PORTS))  # type: ignore[misc]  # the names are the composition's


def serve(
    service: Annotated[ServiceName, typer.Argument(help="Which service.")],
    host: Annotated[str | None, typer.Option(help="Address to listen on (MIS_HOST, 127.0.0.1).")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port (MIS_PORT; tenant 3006, auth 3001, user 3002, description 3003).")
    ] = None,
    drain: Annotated[
        float | None,
        typer.Option(help="Seconds to serve on, unready, after SIGTERM (MIS_DRAIN_SECONDS, 0)."),
    ] = None,
) -> None:
    """Serve one service until SIGTERM or Ctrl-C; reads the services' settings from the environment."""
    options: dict[str, Any] = {"host": host, "port": port, "drain_seconds": drain}
    settings = ServingSettings.read(**{name: value for name, value in options.items() if value is not None})
    app = create_service(service.value)
    with listen(settings.host, PORTS[service.value] if settings.port is None else settings.port) as listener:
        server = Server(app, settings.drain_seconds)
        app.state.readiness["serving"] = server.confirm
        for number in (signal.SIGINT, signal.SIGTERM):
            # The server hears them while it runs, and raises them again when it has ended as it was asked to.
            signal.signal(number, signal.SIG_IGN)
        uvloop.run(server.serve(sockets=[listener]))
    if not server.started:
        raise LaunchError("The service did not start; the lines above say why.")
