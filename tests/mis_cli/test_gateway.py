"""The gateway: each path to its service, one lifespan, one readiness, one description."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response, WebSocket
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from mis_cli.gateway import Gateway, Service, dispatch
from mis_cli.gateway.description import merge

PREFIXES = {
    "tenant": ("/api/v1/tenants", "/api/v1/plans"),
    "auth": ("/api/v1/auth", "/.well-known", "/login"),
    "user": ("/api/v1/users", "/api/v1/media"),
}


def stand_in(name: str, log: list[str], *, fails: str = "", ready: int = 200) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        if fails == "start":
            raise RuntimeError("no database")
        log.append(f"{name} up")
        yield {"name": name}
        log.append(f"{name} down")
        if fails == "stop":
            raise RuntimeError("not flushed")

    app = FastAPI(lifespan=lifespan, title=name)

    @app.get("/readyz")
    async def readyz(response: Response) -> dict[str, str]:
        response.status_code = ready
        return {"status": "ready" if ready == 200 else "unready"}

    @app.websocket("/{path:path}")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(name)
        await socket.close()

    for prefix in PREFIXES[name]:

        @app.get(prefix)
        @app.get(prefix + "/{rest:path}")
        async def answer(request: Request) -> dict[str, str]:
            return {"service": name, "path": request.url.path, "state": request.state.name}

    return app


def gateway(log: list[str], **options: Any) -> Gateway:
    return Gateway(
        [Service(name, PREFIXES[name], stand_in(name, log, **options.get(name, {}))) for name in PREFIXES]
    )


@asynccontextmanager
async def running(app: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """Play the server: start, serve, stop; a failed start or stop is an assertion error."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    task = asyncio.ensure_future(app({"type": "lifespan"}, to_app.get, from_app.put))
    for phase in ("startup", "shutdown"):
        await to_app.put({"type": f"lifespan.{phase}"})
        answer = await from_app.get()
        if answer["type"] != f"lifespan.{phase}.complete":
            await task
            raise AssertionError(answer["message"])
        if phase == "startup":
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield client
    await task


async def test_each_prefix_reaches_its_service_with_the_state_of_its_own_lifespan() -> None:
    async with running(gateway([])) as client:
        for name, prefixes in PREFIXES.items():
            for prefix in prefixes:
                for path in (prefix, f"{prefix}/x/y"):
                    answer = await client.get(path)
                    assert answer.json() == {"service": name, "path": path, "state": name}


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/api/v1", "/api/v1/usersx", "/api/v1/tenantsfoo/1", "//api/v1/users", "/nope"]
)
async def test_an_unknown_path_is_a_404_problem(path: str) -> None:
    async with running(gateway([])) as client:
        answer = await client.get(httpx.URL("http://gateway").copy_with(raw_path=path.encode()))
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "route_not_found"


async def test_its_own_routes_refuse_other_methods() -> None:
    async with running(gateway([])) as client:
        answer = await client.post("/healthz")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD"
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/docs")).status_code == 200


async def test_it_is_ready_when_all_services_are() -> None:
    async with running(gateway([])) as client:
        assert (await client.get("/readyz")).json()["status"] == "ready"
    async with running(gateway([], user={"ready": 503})) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "unready")
        assert answer.json()["services"]["user"] == {"status": "unready"}


async def test_services_start_in_order_and_stop_in_reverse() -> None:
    log: list[str] = []
    async with running(gateway(log)):
        pass
    assert log == ["tenant up", "auth up", "user up", "user down", "auth down", "tenant down"]


async def test_a_service_that_does_not_start_stops_the_others_and_is_named() -> None:
    log: list[str] = []
    with pytest.raises(AssertionError, match=r"user-service(?s:.*)no database"):
        async with running(gateway(log, user={"fails": "start"})):
            pass
    assert log == ["tenant up", "auth up", "auth down", "tenant down"]


async def test_a_service_that_does_not_stop_keeps_none_of_the_others_up() -> None:
    log: list[str] = []
    with pytest.raises(AssertionError, match=r"auth-service(?s:.*)not flushed"):
        async with running(gateway(log, auth={"fails": "stop"})):
            pass
    assert log[-3:] == ["user down", "auth down", "tenant down"]


async def test_web_sockets_are_dispatched_too() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/api/v1/users/live", "headers": [], "query_string": b""}
    await gateway([])(dict(scope), receive, send)
    assert sent[1]["text"] == "user"
    sent.clear()
    await gateway([])({**scope, "path": "/nope"}, receive, send)
    assert sent[0]["type"] == "websocket.close"


async def test_the_description_holds_the_routed_paths_of_all_services() -> None:
    async with running(gateway([])) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert {path.removesuffix("/{rest}") for path in paths} == {
        each for group in PREFIXES.values() for each in group
    }


async def test_the_description_is_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    merged: list[object] = []

    def watched(documents: Any) -> Any:
        merged.append(documents)
        return merge(documents)

    monkeypatch.setattr(dispatch, "merge", watched)
    async with running(gateway([])) as client:
        first, second = [(await client.get("/openapi.json")).content for _ in range(2)]
    assert first == second
    assert len(merged) == 1


def test_components_that_only_share_a_name_are_kept_apart_with_all_that_refers_to_them() -> None:
    def document(path: str, inner: str, apart: str) -> dict[str, Any]:
        reference = {"$ref": "#/components/schemas/Outer"}
        return {
            "paths": {path: {"get": {"schema": reference}}},
            "components": {
                "schemas": {
                    "Outer": {"properties": {"inner": {"$ref": "#/components/schemas/Inner"}}},
                    "Inner": {"type": inner},
                    "Same": {"type": "null"},
                    apart: {"type": "number"},
                }
            },
        }

    merged = merge({"a": document("/a", "string", "OnlyA"), "b": document("/b", "integer", "OnlyB")})
    schemas = merged["components"]["schemas"]
    assert set(schemas) == {"Outer", "Inner", "Same", "OnlyA", "BOuter", "BInner", "OnlyB"}
    assert schemas["BOuter"] == {"properties": {"inner": {"$ref": "#/components/schemas/BInner"}}}
    assert merged["paths"]["/b"]["get"]["schema"] == {"$ref": "#/components/schemas/BOuter"}
    assert merged["paths"]["/a"]["get"]["schema"] == {"$ref": "#/components/schemas/Outer"}


@given(st.text(max_size=40))
def test_no_path_breaks_the_dispatcher(path: str) -> None:
    asyncio.run(_ask_for(path))


async def _ask_for(path: str) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": f"/{path}", "headers": [], "query_string": b""}
    await Gateway([])(scope, receive, send)
    assert sent[0]["status"] in (200, 404)


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/metrics", "/docs"])
async def test_what_the_gateway_answers_itself_carries_the_requests_id(path: str) -> None:
    transport = httpx.ASGITransport(app=Gateway([]))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.example") as client:
        answer = await client.get(path, headers={"X-Request-ID": "abc-1"})
    assert answer.headers["x-request-id"] == "abc-1"
