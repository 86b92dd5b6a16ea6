"""Sends each request to the service that owns its path, and answers for all where they are asked as one.

It stands in for the reverse proxy of a deployment, so it neither reads nor changes a request: each service
runs its own middleware, exactly as it does alone. `/metrics` is not routed, as no gateway should show it.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mis_cli.gateway.description import merge
from mis_cli.gateway.lifespan import AppLifespan, LifespanFailed
from mis_cli.gateway.pages import Page, Pages
from mis_http.service.documentation import DESCRIPTION, Part, documentation


@dataclass(slots=True)
class Service:
    """One service behind the gateway: its name, the path prefixes it owns, its application."""

    name: str
    prefixes: tuple[str, ...]
    app: ASGIApp
    # What the application's lifespan put into its state; each of its requests gets a copy.
    state: dict[str, Any] = field(default_factory=dict)

    def owns(self, path: str) -> bool:
        """Tell whether the path is one of the prefixes or lies below one."""
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in self.prefixes)


Companion = Callable[[], AbstractAsyncContextManager[object]]


class Gateway:
    """An ASGI application over several services; `companions` run beside them for as long as it serves."""

    def __init__(self, services: Sequence[Service], companions: Sequence[Companion] = ()) -> None:
        self.services = tuple(services)
        self._companions = tuple(companions)
        self._described: bytes | None = None
        self._prefixes = tuple((prefix, f"{prefix}/", each) for each in services for prefix in each.prefixes)
        own = {"/healthz": self._health, "/readyz": self._readiness, DESCRIPTION: self._description}
        shown = {path: _page_of(part) for path, part in documentation("Multi-tenant suite").items()}
        self._own = Pages(own | shown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on, or answer it."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        path = scope["path"]
        for prefix, below, service in self._prefixes:
            if path == prefix or path.startswith(below):
                scope["state"] = dict(service.state)
                await service.app(scope, receive, send)
                return
        await self._own(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        running: list[AppLifespan] = []
        await receive()
        try:
            for service in self.services:
                lifespan = AppLifespan(service.name, service.app, service.state)
                await lifespan.start()
                running.append(lifespan)
        except LifespanFailed as failure:
            await self._stop(running)
            await send({"type": "lifespan.startup.failed", "message": str(failure)})
            return
        async with AsyncExitStack() as stack:
            for companion in self._companions:
                await stack.enter_async_context(companion())
            await send({"type": "lifespan.startup.complete"})
            await receive()
        failures = await self._stop(running)
        if failures:
            await send({"type": "lifespan.shutdown.failed", "message": "\n".join(failures)})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def _stop(self, running: list[AppLifespan]) -> list[str]:
        # All are stopped, in reverse, even where one fails: the others hold data too.
        failures = []
        for lifespan in reversed(running):
            try:
                await lifespan.stop()
            except LifespanFailed as failure:
                failures.append(str(failure))
        return failures

    async def _health(self, scope: Scope) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readiness(self, scope: Scope) -> Response:
        answers = {each.name: await _ask(each, scope, "/readyz") for each in self.services}
        parts = {name: document for name, (_, document) in answers.items()}
        unready = any(status != 200 for status, _ in answers.values())
        degraded = any(part.get("status") == "degraded" for part in parts.values())
        status = "unready" if unready else "degraded" if degraded else "ready"
        return JSONResponse({"status": status, "services": parts}, status_code=503 if unready else 200)

    async def _description(self, scope: Scope) -> Response:
        # Made once, as it takes as long as dozens of requests, and strangers may ask for it.
        if self._described is None:
            self._described = bytes(JSONResponse(await self._merged(scope)).body)
        return Response(self._described, media_type="application/json")

    async def _merged(self, scope: Scope) -> dict[str, Any]:
        documents = {}
        for each in self.services:
            _, document = await _ask(each, scope, DESCRIPTION)
            # A service alone also describes its health routes; here only what is routed to it counts.
            paths = {path: item for path, item in document.get("paths", {}).items() if each.owns(path)}
            documents[each.name] = {**document, "paths": paths}
        return merge(documents)


def _page_of(part: Part) -> Page:
    async def page(scope: Scope) -> Response:
        return part.answer()

    return page


async def _ask(service: Service, scope: Scope, path: str) -> tuple[int, dict[str, Any]]:
    """Put a GET of the path to the service, in process; return the status and the JSON object it answers."""
    status = 0
    body = bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    asked = {**scope, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    await service.app({**asked, "state": dict(service.state)}, receive, send)
    try:
        document = json.loads(bytes(body))
    except ValueError:
        document = None
    return status, document if isinstance(document, dict) else {}
