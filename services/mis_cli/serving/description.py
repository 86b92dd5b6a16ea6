"""The merged description of all services, made without anything to connect to: as files or as a process.

A gateway that keeps files is given files; one that only passes requests on is given a process to ask.
"""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.types import Scope

from mis_cli.gateway import Gateway
from mis_cli.gateway.pages import Pages
from mis_http.service.documentation import DESCRIPTION, PATHS
from mis_http.service.health import readiness, verdicts
from mis_http.service.settings import ServiceSettings

PAGES: Final = (DESCRIPTION, *PATHS)


def unconnected() -> ServiceSettings:
    """Return settings that let the services be composed; a description depends on none of them."""
    database = "postgresql://{}@localhost/mis_db"
    return ServiceSettings.read(
        database_url=database.format("mis_app"),
        auth_database_url=database.format("mis_auth"),
        platform_database_url=database.format("mis_platform"),
        storage_url="s3://mis/objects",
        public_url="http://localhost:8000",
        master_keys=f"described:{base64.b64encode(bytes(32)).decode()}",
        spool_dir=Path("spool"),
        traces_url=None,
    )


async def pages_of(gateway: Gateway) -> Mapping[str, httpx.Response]:
    """Return what the gateway answers at each of `PAGES`; its services are not started for it."""
    transport = httpx.ASGITransport(gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return {path: (await client.get(path)).raise_for_status() for path in PAGES}


def description_app(gateway: Gateway) -> Starlette:
    """Return the application that serves the gateway's description, and is probed as the services are."""
    shown: dict[str, httpx.Response] = {}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        shown.update(await pages_of(gateway))
        yield

    async def page(scope: Scope) -> Response:
        one = shown[scope["path"]]
        return Response(one.content, media_type=one.headers["content-type"])

    async def health(scope: Scope) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(scope: Scope) -> Response:
        return readiness(await verdicts(app.state.readiness))

    async def metrics(scope: Scope) -> Response:
        # It counts nothing; that it answers is what Prometheus writes down.
        return Response(media_type="text/plain; version=0.0.4")

    own = {"/healthz": health, "/readyz": ready, "/metrics": metrics}
    app = Starlette(routes=[Mount("", Pages(own | dict.fromkeys(PAGES, page)))], lifespan=lifespan)
    app.state.readiness = {}
    return app
