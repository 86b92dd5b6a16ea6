"""The direct way of a route and FastAPI's own: the same answers, in the same order of things."""

from collections.abc import AsyncIterator, Iterable
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import fastapi.routing
import httpx
import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Header, HTTPException, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from mis_http.routes.direct_route import DirectRoute
from tests.suite import Suite

ONE = "01920000-0000-7000-8000-000000000001"


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Shown(BaseModel):
    said: dict[str, Any]
    hidden: str | None = None


class Steps(list[str]):
    """What was done while a request was answered, in order."""


def steps_of(request: Request) -> Steps:
    steps: Steps = request.app.state.steps
    return steps


async def opened(request: Request) -> AsyncIterator[str]:
    steps_of(request).append("open")
    try:
        yield "session"
    except Exception:
        steps_of(request).append("roll back")
        raise
    steps_of(request).append("commit")


Opened = Annotated[str, Depends(opened, scope="function")]


async def judged(request: Request) -> str:
    steps_of(request).append("judge")
    if request.headers.get("x-refused"):
        raise HTTPException(403, "refused")
    return "judged"


async def paged(
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    order: Literal["asc", "desc"] = "desc",
    color: Color | None = None,
    since: Annotated[UUID | None, Query(alias="sinceId")] = None,
) -> dict[str, Any]:
    return {"limit": limit, "order": order, "color": color, "since": since}


async def twice(page: Annotated[dict[str, Any], Depends(paged)], by: Annotated[str, Depends(judged)]) -> str:
    return f"{page['limit']} {by}"


async def refused_after(session: Opened, limit: int = 1) -> str:
    if limit > 10:
        raise HTTPException(409, "too many")
    return session


def routes(route_class: type[APIRoute]) -> APIRouter:
    router = APIRouter(route_class=route_class)

    @router.get("/things/{thing}")
    async def read(
        request: Request,
        thing: Annotated[UUID, Path()],
        session: Opened,
        by: Annotated[str, Depends(judged)],
        page: Annotated[dict[str, Any], Depends(paged)],
        again: Annotated[str, Depends(twice)],
        if_match: Annotated[str | None, Header(max_length=5)] = None,
    ) -> Shown:
        said = {"thing": thing, "session": session, "by": by, "again": again, "held": if_match, **page}
        return Shown(said=said, hidden=request.method)

    @router.get("/filled", status_code=202, response_model_exclude_none=True)
    async def fill(response: Response, wanted: bool, by: Annotated[str, Depends(judged)]) -> list[Shown]:
        response.headers["ETag"] = '"1"'
        if wanted:
            response.status_code = 203
        return [Shown(said={"by": by})]

    @router.get("/raw", response_model=Shown)
    async def raw(session: Opened) -> Response:
        return Response(b"{}", 201, {"X-Own": session}, "application/json")

    @router.delete("/gone", status_code=204)
    async def remove(session: Opened) -> None:
        return None

    @router.get("/fails")
    async def fail(session: Annotated[str, Depends(refused_after)]) -> Shown:
        return Shown(said={"session": session})

    @router.get("/unfit", response_model=Shown)
    async def unfit(session: Opened) -> Any:
        return {"said": 7}

    @router.get("/many")
    async def many(words: Annotated[list[str], Query()], session: Opened) -> Shown:
        return Shown(said={"words": words})

    @router.post("/made")
    async def make(session: Opened, body: Annotated[Shown, Body()]) -> Shown:
        return body

    return router


def application(route_class: type[APIRoute]) -> FastAPI:
    app = FastAPI(routes=routes(route_class).routes)
    app.state.steps = Steps()
    return app


async def answers(app: FastAPI, asked: Iterable[tuple[str, str, dict[str, str]]]) -> list[Any]:
    """Return for each request its status, headers, body, and what was done."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    found = []
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for method, target, headers in asked:
            app.state.steps.clear()
            answer = await client.request(method, target, headers=headers)
            found.append((target, answer.status_code, dict(answer.headers), answer.text, [*app.state.steps]))
    return found


ASKED = [
    ("GET", f"/things/{ONE}", {}),
    ("GET", f"/things/{ONE}?limit=7&order=asc&color=blue&sinceId={ONE}", {"If-Match": "abc"}),
    ("GET", f"/things/{ONE}?limit=7&limit=8", {}),
    ("GET", f"/things/{ONE}?limit=&color=", {}),
    ("GET", f"/things/{ONE}?limit=0&order=up&color=green&sinceId=x", {"If-Match": "too long"}),
    ("GET", f"/things/{ONE}?limit=0", {"X-Refused": "1"}),
    ("GET", f"/things/{ONE}?since={ONE}&other=1", {"X-Refused": "1"}),
    ("GET", "/things/none?limit=7", {}),
    ("GET", "/filled", {}),
    ("GET", "/filled?wanted=yes", {}),
    ("GET", "/filled?wanted=0", {}),
    ("GET", "/raw", {}),
    ("DELETE", "/gone", {}),
    ("GET", "/fails?limit=11", {}),
    ("GET", "/fails?limit=x", {}),
    ("GET", "/fails", {}),
    ("GET", "/unfit", {}),
    ("GET", "/many?words=a&words=b", {}),
    ("GET", "/many", {}),
    ("POST", "/made", {"content-type": "application/json"}),
    ("PUT", "/filled", {}),
]


async def test_both_ways_give_the_same_answers_after_the_same_steps() -> None:
    plain, direct = application(APIRoute), application(DirectRoute)
    for usual, own in zip(await answers(plain, ASKED), await answers(direct, ASKED), strict=True):
        assert own == usual
    assert direct.openapi() == plain.openapi()


@pytest.mark.parametrize("asked", [ASKED[1], ASKED[10], ASKED[11], ASKED[13], ASKED[15]])
async def test_what_is_known_of_an_endpoint_is_not_worked_out_again(
    asked: tuple[str, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(**given: Any) -> None:
        raise AssertionError("FastAPI solved dependencies")

    monkeypatch.setattr(fastapi.routing, "solve_dependencies", never)
    ((_, status, *_),) = await answers(application(DirectRoute), [asked])
    assert status < 500


async def test_an_overridden_dependency_is_overridden() -> None:
    async def other() -> str:
        return "other"

    ways = application(APIRoute), application(DirectRoute)
    # FastAPI's own route knows the application whose overrides count only where that included it.
    included = FastAPI()
    included.include_router(routes(APIRoute))
    included.state.steps = Steps()
    included.dependency_overrides[judged] = ways[1].dependency_overrides[judged] = other
    assert await answers(included, ASKED[:7]) == await answers(ways[1], ASKED[:7])


async def test_who_includes_the_router_with_a_further_demand_is_obeyed() -> None:
    async def demand() -> None:
        raise HTTPException(403, "not you")

    app = FastAPI()
    app.include_router(routes(DirectRoute), dependencies=[Depends(demand)], prefix="/inner")
    app.state.steps = Steps()
    ((_, status, *_),) = await answers(app, [("GET", "/inner/raw", {})])
    assert status == 403


async def test_every_route_of_the_suite_has_the_direct_way(suite: Suite) -> None:
    for app in suite.apps.values():
        found = [route for route in app.routes if isinstance(route, APIRoute)]
        assert found
        assert [route.path for route in found if not isinstance(route, DirectRoute)] == []
