"""The isolation matrix, second face: every route under every source that names another tenant."""

from typing import Any
from uuid import uuid4

import pytest

from tests.isolation.routes import CLOSED, OPEN, ROUTES, Declared, Who
from tests.isolation.test_matrix import each, named_by
from tests.isolation.world import World, refusal

SOURCES = ("header_id", "header_slug", "subdomain", "query", "query_id")
FOREIGN = ("active", "suspended", "invented")

MALFORMED: dict[str, dict[str, Any]] = {
    "header_id": {"raw_headers": [("X-Tenant-ID", "not-a-uuid")]},
    "header_slug": {"raw_headers": [("X-Tenant-Slug", "no slug!")]},
    "query": {"query": [("tenant", "../etc")]},
    "overlong": {"raw_headers": [("X-Tenant-Slug", "x" * 300)]},
}


def foreign(world: World, kind: str) -> tuple[str, str]:
    """Return the slug and id of a tenant that is not the caller's."""
    if kind == "invented":
        return f"nobody-{uuid4().hex[:8]}", str(uuid4())
    tenant = world.other if kind == "active" else world.closed
    return tenant.slug, str(tenant.id)


@each(CLOSED)
@pytest.mark.parametrize("source", SOURCES)
async def test_a_token_beside_another_tenants_name_is_a_mismatch(
    world: World, route: Declared, source: str
) -> None:
    """The answer tells nothing of the tenant that is named. Catalogue 6, 142."""
    documents = [
        refusal(
            await world.ask(route, world.home.auth, **named_by(source, *foreign(world, kind))),
            403,
            "tenant_mismatch",
        )
        for kind in FOREIGN
    ]
    assert documents[0] == documents[1] == documents[2]


@each(CLOSED)
@pytest.mark.parametrize("kind", FOREIGN)
async def test_one_foreign_name_among_right_ones_is_enough(world: World, route: Declared, kind: str) -> None:
    """Catalogue 6, 8."""
    slug, _ = foreign(world, kind)
    answer = await world.ask(
        route,
        world.home.auth,
        raw_headers=[("X-Tenant-ID", str(world.home.id)), ("X-Tenant-Slug", world.home.slug)],
        query=[("tenant", slug)],
        host=f"{world.home.slug}.mis.local",
    )
    refusal(answer, 403, "tenant_mismatch")


@each(CLOSED)
@pytest.mark.parametrize("source", SOURCES)
async def test_a_visit_is_bound_to_its_tenant_like_a_member(
    world: World, route: Declared, source: str
) -> None:
    """Catalogue 97."""
    answer = await world.ask(route, world.visitor, **named_by(source, *foreign(world, "active")))
    refusal(answer, 403, "tenant_mismatch")


READS = [route for route in CLOSED if route.is_read and route.who is not Who.OPERATOR]


@each(READS)
@pytest.mark.parametrize("source", SOURCES)
async def test_a_name_that_agrees_with_the_token_changes_nothing(
    world: World, route: Declared, source: str
) -> None:
    """Catalogue 8."""
    named = named_by(
        source, world.home.slug.upper() if source != "subdomain" else world.home.slug, str(world.home.id)
    )
    path = world.path(route)
    answer = await world.ask(route, world.home.auth, path=path, **named)
    assert answer.status_code == route.status, answer.text


@each([route for route in ROUTES if not route.path.endswith("/resolve")])
@pytest.mark.parametrize("shape", MALFORMED)
async def test_a_malformed_source_is_refused_before_anything_is_looked_up(
    world: World, route: Declared, shape: str
) -> None:
    """Catalogue 2."""
    headers = {} if route.who.is_open else world.home.auth
    refusal(await world.ask(route, headers, **MALFORMED[shape]), 400, "tenant_malformed")


@each([route for route in ROUTES if not route.path.endswith("/resolve")])
@pytest.mark.parametrize("form", ["two_headers", "comma", "two_parameters"])
async def test_a_source_given_twice_is_refused_even_with_one_value(
    world: World, route: Declared, form: str
) -> None:
    """Catalogue 9, 10, 12."""
    own = str(world.home.id)
    repeated: dict[str, Any] = {
        "two_headers": {"raw_headers": [("X-Tenant-ID", own), ("X-Tenant-ID", own)]},
        "comma": {"raw_headers": [("X-Tenant-ID", f"{own},{own}")]},
        "two_parameters": {"query": [("tenant", own), ("tenant", own)]},
    }[form]
    headers = {} if route.who.is_open else world.home.auth
    refusal(await world.ask(route, headers, **repeated), 400, "tenant_ambiguous")


@each([route for route in OPEN if route.who is Who.STRANGER_OF_TENANT])
@pytest.mark.parametrize("kind", FOREIGN)
async def test_hints_of_a_stranger_that_disagree_are_a_conflict(
    world: World, route: Declared, kind: str
) -> None:
    """Catalogue 7, 8."""
    slug, tenant_id = foreign(world, kind)
    answer = await world.ask(
        route, {}, raw_headers=[("X-Tenant-ID", tenant_id)], host=f"{world.home.slug}.mis.local"
    )
    document = refusal(answer, 400, "tenant_conflict")
    assert sorted(document["sources"]) == ["header_id", "subdomain"]
    assert slug not in answer.text
    assert tenant_id not in answer.text


OF_OPERATORS = [route for route in CLOSED if "{id}" in route.path and route.serves_operators]


@each(OF_OPERATORS)
@pytest.mark.parametrize("source", SOURCES)
async def test_an_operator_who_names_two_tenants_gets_neither(
    world: World, route: Declared, source: str
) -> None:
    named = named_by(source, world.other.slug, str(world.other.id))
    body = None if route.body is None else route.body(await world.call(route))
    refusal(await world.ask(route, world.suite.operator, body=body, **named), 400, "tenant_conflict")
