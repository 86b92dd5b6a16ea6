"""HEAD on every route that GET reads: judged alike, answered alike, without a body."""

from dataclasses import replace

import httpx
import pytest

from tests.integration.wire import raw
from tests.isolation.routes import CLOSED, ROUTES, Declared, Who
from tests.isolation.test_matrix import NONSENSE, caller_of, each
from tests.isolation.world import World

READS = [route for route in ROUTES if route.method == "GET"]
CLOSED_READS = [route for route in CLOSED if route.method == "GET"]
# What differs from one request to the next, whatever its method.
OF_THE_MOMENT = (
    "x-request-id",
    "ratelimit",
    "x-ratelimit",
    "content-length",
    "etag",
    "link",
    "location",
    "set-cookie",
)


def stable(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if not name.startswith(OF_THE_MOMENT)}


@each(READS)
async def test_head_answers_what_get_does(world: World, route: Declared) -> None:
    role = None if route.who.is_open or route.who is Who.OPERATOR else route.least_role
    call = await world.call(route, role)
    headers = caller_of(world, route, role, call)
    told = await world.work(route, call, headers)
    asked = await world.work(replace(route, method="HEAD"), call, headers)
    assert asked.status_code == told.status_code == route.status
    assert asked.content == b""
    assert stable(asked) == stable(told)
    assert ("content-length" in asked.headers) is ("content-length" in told.headers)


@each(CLOSED_READS)
@pytest.mark.parametrize("who", ["nobody", "nonsense", "neighbour"])
async def test_head_refuses_whom_get_does(world: World, route: Declared, who: str) -> None:
    """Catalogue 22, 93."""
    headers = {"nobody": {}, "nonsense": NONSENSE, "neighbour": world.other.auth}[who]
    told, asked = await world.ask(route, headers), await world.ask(replace(route, method="HEAD"), headers)
    assert asked.status_code == told.status_code
    assert asked.headers["content-type"] == told.headers["content-type"]
    assert asked.content == b""


async def test_the_application_itself_sends_no_body(world: World) -> None:
    headers = [(b"authorization", world.home.auth["Authorization"].encode())]
    scope = {"path": "/api/v1/users", "headers": headers}
    told = await raw(world.suite.gateway, scope)
    asked = await raw(world.suite.gateway, scope | {"method": "HEAD"})
    assert (told.status, asked.status) == (200, 200)
    assert (len(told.body) > 2, asked.body) == (True, b"")
    assert int(asked.headers["content-length"]) == len(told.body)


async def test_head_of_what_get_does_not_read_is_refused_without_a_body(world: World) -> None:
    headers = [(b"authorization", world.home.auth["Authorization"].encode())]
    path = f"/api/v1/tenants/{world.home.id}/suspend"
    asked = await raw(world.suite.gateway, {"path": path, "headers": headers, "method": "HEAD"})
    assert (asked.status, asked.headers["allow"], asked.body) == (405, "POST", b"")
