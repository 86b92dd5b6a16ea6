"""The isolation matrix: each route of the three services against each kind of caller, from one table."""

from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from mis_tenancy.access import ACT_AS_PERMISSIONS
from mis_tenancy.tenant import Role
from tests.isolation.routes import CLOSED, OPEN, ROUTES, WEAKEST_FIRST, Declared, Who
from tests.isolation.world import World, refusal
from tests.suite import Suite

PROBES = {"/healthz", "/readyz", "/metrics"}
NONSENSE = {"Authorization": "Bearer nonsense"}


def each(routes: Sequence[Declared]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", routes, ids=[route.name for route in routes])


def api_routes(app: FastAPI) -> Iterator[APIRoute]:
    """Yield the application's own routes, those too that the description leaves out."""
    for route in app.routes:
        # FastAPI keeps an included router whole, under a name it does not publish.
        inner = getattr(route, "original_router", None)
        for one in [route] if inner is None else inner.routes:
            if isinstance(one, APIRoute) and one.path not in PROBES:
                yield one


def declared_permissions(route: APIRoute) -> set[Any]:
    """Return what the route's dependencies, and theirs, say they require."""
    found, waiting = set(), [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting.extend(dependant.dependencies)
        permission = getattr(dependant.call, "permission", None)
        if permission is not None:
            found.add(permission)
    return found


def test_every_route_is_declared_in_the_matrix(suite: Suite) -> None:
    """A route that nobody has thought about in terms of tenants fails the build. Catalogue 143."""
    served = {
        f"{method} {route.path}"
        for app in suite.apps.values()
        for route in api_routes(app)
        for method in route.methods or ()
    }
    declared = [route.name for route in ROUTES]
    assert len(declared) == len(set(declared))
    assert served - set(declared) == set(), "Declare these in tests/isolation/routes.py."
    assert set(declared) - served == set(), (
        "These are declared in tests/isolation/routes.py and served by nobody."
    )


async def test_every_route_is_described_and_every_description_is_routed(suite: Suite) -> None:
    """Catalogue 143."""
    document = (await suite.client.get("/openapi.json")).json()
    described = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert described == {route.name for route in ROUTES}


def test_every_route_asks_the_permission_that_the_matrix_says(suite: Suite) -> None:
    served = {
        f"{method} {route.path}": declared_permissions(route)
        for app in suite.apps.values()
        for route in api_routes(app)
        for method in route.methods or ()
    }
    for route in CLOSED:
        asked = {str(permission) for permission in served[route.name]}
        if route.permission is not None:
            assert str(route.permission) in asked, route.name
        elif route.who is not Who.OPERATOR:
            assert not asked, (route.name, asked)


def caller_of(world: World, route: Declared, role: Role | None, call: Any) -> dict[str, str]:
    if route.who is Who.STRANGER_OF_TENANT:
        return {"X-Tenant-Slug": world.home.slug}
    if route.who is Who.OPERATOR:
        return world.suite.operator
    return {} if role is None else call.caller.auth


@each(ROUTES)
async def test_the_right_caller_is_served(world: World, route: Declared) -> None:
    """Catalogue 93."""
    role = None if route.who.is_open or route.who is Who.OPERATOR else route.least_role
    call = await world.call(route, role)
    answer = await world.work(route, call, caller_of(world, route, role, call))
    assert answer.status_code == route.status, answer.text
    if route.path.startswith("/api/") and not route.path.startswith("/api/v1/plans"):
        assert (answer.headers["cache-control"] == "no-store") is not route.is_cacheable
    if role is not None:
        assert answer.headers["vary"] == "Authorization, X-Tenant-ID, X-Tenant-Slug, Host"
        assert '"burst"' in answer.headers["ratelimit-policy"]


OPERATORS_TOO = [route for route in CLOSED if route.who is Who.TENANT and route.operator]


@each(OPERATORS_TOO)
async def test_an_operator_may_do_in_any_tenant_what_hands_out_no_content(
    world: World, route: Declared
) -> None:
    answer = await world.work(route, await world.call(route), world.suite.operator)
    assert answer.status_code == route.status, answer.text
    assert "ratelimit" not in answer.headers


CONTENT = [route for route in CLOSED if not route.serves_operators]


@each(CONTENT)
@pytest.mark.parametrize("hint", ["none", "header_id", "header_slug", "subdomain", "query"])
async def test_an_operators_own_token_reaches_no_tenant_data(
    world: World, route: Declared, hint: str
) -> None:
    answer = await world.ask(
        route, world.suite.operator, **named_by(hint, world.home.slug, str(world.home.id))
    )
    refusal(answer, 403, "act_as_required")


def named_by(kind: str, slug: str, tenant_id: str) -> dict[str, Any]:
    """Return the options that name a tenant by one kind of source."""
    options: dict[str, dict[str, Any]] = {
        "none": {},
        "header_id": {"raw_headers": [("X-Tenant-ID", tenant_id)]},
        "header_slug": {"raw_headers": [("X-Tenant-Slug", slug)]},
        "subdomain": {"host": f"{slug}.mis.local"},
        "query": {"query": [("tenant", slug)]},
        "query_id": {"query": [("tenant", tenant_id)]},
    }
    return options[kind]


@each(CLOSED)
@pytest.mark.parametrize("hint", ["none", "header_id", "subdomain", "query"])
async def test_a_closed_route_asks_a_stranger_for_a_token_whatever_tenant_is_named(
    world: World, route: Declared, hint: str
) -> None:
    """Catalogue 1."""
    answer = await world.ask(route, {}, **named_by(hint, world.home.slug, str(world.home.id)))
    refusal(answer, 401, "authentication_required")
    assert answer.headers["www-authenticate"] == "Bearer"


@each(CLOSED)
async def test_a_closed_route_refuses_a_token_that_is_none(world: World, route: Declared) -> None:
    refusal(await world.ask(route, NONSENSE), 401, "token_invalid")


@each(CLOSED)
async def test_a_closed_route_refuses_a_token_whose_session_has_ended(world: World, route: Declared) -> None:
    """Catalogue 67."""
    refusal(await world.ask(route, world.signed_out.auth), 401, "token_revoked")


@each([route for route in OPEN if not route.reads_bearer])
@pytest.mark.parametrize("bearer", ["nonsense", "signed_out", "foreign"])
async def test_an_open_route_never_reads_a_bearer(world: World, route: Declared, bearer: str) -> None:
    """Catalogue 20."""
    sent = {"nonsense": NONSENSE, "signed_out": world.signed_out.auth, "foreign": world.other.auth}[bearer]
    call = await world.call(route)
    answer = await world.work(route, call, caller_of(world, route, None, call) | sent)
    assert answer.status_code == route.status, answer.text


LACKING = [(route, role) for route in CLOSED for role in WEAKEST_FIRST if not route.serves(role)]


@pytest.mark.parametrize(("route", "role"), LACKING, ids=[f"{route.name}-{role}" for route, role in LACKING])
async def test_a_role_without_the_permission_is_refused_and_told_which(
    world: World, route: Declared, role: Role
) -> None:
    """Catalogue 93."""
    call = await world.call(route)
    document = refusal(await world.work(route, call, world.auth(role)), 403, "permission_denied")
    assert document["required"] == route.permission


@each([route for route in CLOSED if route.who is Who.OPERATOR])
@pytest.mark.parametrize("role", WEAKEST_FIRST)
async def test_no_role_of_a_tenant_is_an_operator(world: World, route: Declared, role: Role) -> None:
    answer = await world.work(route, await world.call(route), world.auth(role))
    assert refusal(answer, 403, "permission_denied")["required"] == "operator"


@each([route for route in CLOSED if route.who is Who.OPERATOR])
async def test_an_operator_inside_a_tenant_is_no_operator_of_the_platform(
    world: World, route: Declared
) -> None:
    """Catalogue 76."""
    answer = await world.work(route, await world.call(route), world.visitor)
    assert refusal(answer, 403, "permission_denied")["required"] == "operator"


BEYOND_A_VISIT = [
    route for route in CLOSED if route.permission is not None and route.permission not in ACT_AS_PERMISSIONS
]


@each(BEYOND_A_VISIT)
async def test_a_visit_brings_no_permission_that_outlasts_it(world: World, route: Declared) -> None:
    """Catalogue 76."""
    refusal(await world.work(route, await world.call(route), world.visitor), 403, "permission_denied")


@each([route for route in CLOSED if route.is_read and route.who in (Who.MEMBER, Who.TENANT)])
async def test_an_operator_who_acts_in_a_tenant_reads_as_its_admin(world: World, route: Declared) -> None:
    """Catalogue 97."""
    if route.path.endswith("/me"):
        refusal(await world.ask(route, world.visitor), 404, "user_not_found")
    else:
        answer = await world.ask(route, world.visitor)
        allowed = route.permission is None or route.permission in ACT_AS_PERMISSIONS
        assert answer.status_code == (route.status if allowed else 403), answer.text


@each(CLOSED)
async def test_a_member_of_a_suspended_tenant_is_told_so(world: World, route: Declared) -> None:
    """Catalogue 4."""
    answer = await world.ask(route, world.closed.auth, path=world.path(route, {"id": str(world.closed.id)}))
    document = refusal(answer, 403, "tenant_suspended")
    assert document["reason"] == "The matrix."
    assert document["since"].endswith("Z")


@each([route for route in OPEN if route.who is Who.STRANGER_OF_TENANT])
async def test_a_stranger_cannot_tell_a_suspended_tenant_from_none(world: World, route: Declared) -> None:
    """Catalogue 3, 4."""
    answers: list[httpx.Response] = [
        await world.ask(route, {}, **named_by(kind, slug, tenant_id))
        for kind in ("header_id", "header_slug", "subdomain", "query", "query_id")
        for slug, tenant_id in (
            (world.closed.slug, str(world.closed.id)),
            ("nobody-of-that-name", "0192f0c1-2b3c-7d4e-8f50-617283940a1b"),
        )
    ]
    documents = [refusal(answer, 404, "tenant_not_found") for answer in answers]
    assert all(document == documents[0] for document in documents)
    refusal(await world.ask(route, {}), 400, "tenant_required")


FEATURED = [route for route in CLOSED if route.feature is not None]


@each(FEATURED)
async def test_a_tenant_without_the_feature_is_told_which_plans_have_it(
    world: World, route: Declared
) -> None:
    """Catalogue 95."""
    answer = await world.ask(route, world.plain.auth, path=world.path(route, {"id": str(world.plain.id)}))
    document = refusal(answer, 403, "feature_not_available")
    assert (document["feature"], document["plan"]) == (route.feature, "basic")
    assert document["availableIn"]
