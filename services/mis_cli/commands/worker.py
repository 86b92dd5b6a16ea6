"""`mis worker`: background work and schedules, beside services that run elsewhere."""

from typing import Annotated, Any

import typer
import uvloop

from mis_worker.app import work
from mis_worker.settings import WorkerSettings


def worker(
    host: Annotated[
        str | None, typer.Option(help="Address of probes and metrics (MIS_WORKER_HOST, 127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port of /healthz, /readyz and /metrics (MIS_WORKER_PORT); none where left out."),
    ] = None,
) -> None:
    """Run background work until Ctrl-C or SIGTERM; reads the services' settings from the environment."""
    options: dict[str, Any] = {"worker_host": host, "worker_port": port}
    given = {name: value for name, value in options.items() if value is not None}
    uvloop.run(work(WorkerSettings.read(**given)))
