"""What a worker shows of itself over HTTP, for probes and Prometheus; it serves nothing else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mis_jobs.runner import Runner
from mis_tenancy.settings import SettingsError


def probe_app(runner: Runner) -> Starlette:
    """Return the application: `/healthz`, `/readyz`, `/metrics`."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(request: Request) -> Response:
        if runner.is_working:
            return JSONResponse({"status": "ready", "parts": {"queue": "ok"}})
        return JSONResponse({"status": "unready", "parts": {"queue": "failing"}}, status_code=503)

    async def metrics(request: Request) -> Response:
        return Response(runner.metrics.render(), media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route(f"/{one.__name__}", one) for one in (healthz, readyz, metrics)])


class _Server(uvicorn.Server):
    """A server that leaves signals to the worker."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(runner: Runner, host: str, port: int) -> AsyncIterator[None]:
    """Serve the probes beside the block; raise SettingsError where the port is not free."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"MIS_WORKER_PORT: cannot listen on {host} port {port}: {error.strerror}."
        ) from error
    config = uvicorn.Config(
        probe_app(runner),
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="probes")
    try:
        yield
    finally:
        server.should_exit = True
        await task
        listener.close()
