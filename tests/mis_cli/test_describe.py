"""The suite's interface as files and as a process, without anything to connect to."""

import asyncio
import json
from pathlib import Path

import httpx

from mis_cli.serving.composition import compose
from mis_cli.serving.description import PAGES, description_app, unconnected
from mis_cli.serving.server import Draining
from mis_http.service.documentation import PAGE, PATHS
from tests.mis_cli.command_line import CommandLine
from tests.suite import Suite


async def test_what_is_described_is_what_the_gateway_shows(
    mis: CommandLine, suite: Suite, tmp_path: Path
) -> None:
    result = await mis("describe", tmp_path / "description", env={})
    assert result.exit_code == 0, result.stderr
    described = json.loads((tmp_path / "description" / "openapi.json").read_text())
    shown = (await suite.client.get("/openapi.json")).json()
    assert described == shown
    assert {"/api/v1/tenants", "/api/v1/auth/login", "/api/v1/users"} <= set(described["paths"])
    for path in PATHS:
        file = "docs.html" if path == PAGE else path.removeprefix("/")
        assert (tmp_path / "description" / file).read_bytes() == (await suite.client.get(path)).content


async def test_a_process_serves_the_same_to_a_gateway_that_keeps_no_files(suite: Suite) -> None:
    app = description_app(compose(unconnected()))
    leaving = asyncio.Event()

    async def serving() -> None:
        if leaving.is_set():
            raise Draining

    app.state.readiness["serving"] = serving
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://described") as client,
    ):
        for path in PAGES:
            shown, served = await suite.client.get(path), await client.get(path)
            assert (served.content, served.headers["content-type"]) == (
                shown.content,
                shown.headers["content-type"],
            )
        assert (await client.get("/metrics")).status_code == 200
        unknown = await client.get("/api/v1/tenants")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "route_not_found")
        assert (await client.get("/readyz")).json() == {"status": "ready", "parts": {"serving": "ok"}}
        leaving.set()
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
