"""The isolation matrix, third face: foreign ids in paths, and foreign or forbidden members in bodies."""

import re
from typing import Any
from uuid import uuid4

import pytest

from mis_tenancy.access import ACT_AS_PERMISSIONS
from mis_tenancy.tenant import Role
from tests.isolation.routes import CLOSED, ROUTES, Declared, Who
from tests.isolation.test_matrix import caller_of, each
from tests.isolation.world import World, refusal

NOT_FOUND = {
    "id": "tenant_not_found",
    "user_id": "user_not_found",
    "session_id": "session_not_found",
    "alert_id": "alert_not_found",
    "export_id": "export_not_found",
    "import_id": "import_not_found",
    "invoice_id": "invoice_not_found",
    "migration_id": "migration_not_found",
    "webhook_id": "webhook_not_found",
    "delivery_id": "delivery_not_found",
    "invitation_id": "invitation_not_found",
    "api_key_id": "api_key_not_found",
    "passkey_id": "passkey_not_found",
    "media_id": "media_not_found",
    "verification_id": "verification_not_found",
}
# What names no row of one tenant: each may have a setting of the same key, and jobs and plans are operators'.
NO_TENANTS_ID = {"key", "plan", "job_id"}
WITH_IDS = [
    (route, name)
    for route in CLOSED
    for name in NOT_FOUND
    if f"{{{name}}}" in route.path and route.who is not Who.OPERATOR
]
ASKED = [
    (route, name, role) for route, name in WITH_IDS for role in (Role.OWNER, Role.ADMIN) if route.serves(role)
]


def test_every_id_in_a_path_is_tried() -> None:
    named = {name for route in ROUTES for name in re.findall(r"{([a-z_]+)}", route.path)}
    assert named == NOT_FOUND.keys() | NO_TENANTS_ID
    assert {name for _, name in WITH_IDS} == set(NOT_FOUND)


@pytest.mark.parametrize(
    ("route", "name", "role"), ASKED, ids=[f"{route.name}-{name}-{role}" for route, name, role in ASKED]
)
async def test_anothers_id_answers_exactly_as_one_that_nobody_has(
    world: World, route: Declared, name: str, role: Role
) -> None:
    """Catalogue 93."""
    call = await world.call(route, role if route.fresh is None else None)
    headers = world.auth(role)
    foreign = [world.other_ids[name], str(uuid4()), "nonsense"]
    if name == "id":
        foreign += [world.other.slug, world.other.slug.upper(), str(world.closed.id), world.closed.slug]
        foreign += [world.other_ids[name].replace("-", ""), f"{{{world.other_ids[name]}}}"]
    body = None if route.body is None else route.body(call)
    answers = [
        await world.ask(route, headers, path=world.path(route, call.params | {name: one}), body=body)
        for one in foreign
    ]
    documents = [refusal(answer, 404, NOT_FOUND[name]) for answer in answers]
    assert all(document == documents[0] for document in documents)


# A visitor works as an admin, without what outlasts a visit; what they may not do is refused before anything
# is looked for.
VISITED = [
    (route, name)
    for route, name in WITH_IDS
    if name != "passkey_id" and (route.permission is None or route.permission in ACT_AS_PERMISSIONS)
]


@pytest.mark.parametrize(("route", "name"), VISITED, ids=[f"{route.name}-{name}" for route, name in VISITED])
async def test_a_visitors_foreign_ids_answer_like_a_members(world: World, route: Declared, name: str) -> None:
    """Catalogue 93, 97."""
    call = await world.call(route, None if route.fresh is None else Role.VIEWER)
    body = None if route.body is None else route.body(call)
    answers = [
        await world.ask(route, world.visitor, path=world.path(route, call.params | {name: one}), body=body)
        for one in (world.other_ids[name], str(uuid4()))
    ]
    assert [answer.status_code for answer in answers] == [404, 404], answers[0].text
    assert refusal(answers[0], 404, NOT_FOUND[name]) == refusal(answers[1], 404, NOT_FOUND[name])


MIXED = [route for route in CLOSED if "{id}" in route.path and "{key}" in route.path]


@each(MIXED)
async def test_anothers_key_under_the_own_tenant_is_not_there(world: World, route: Declared) -> None:
    """Catalogue 93."""
    call = await world.call(route)
    body = None if route.body is None else route.body(call)
    answers = [
        await world.ask(route, world.home.auth, path=world.path(route, {"key": key}), body=body)
        for key in (world.other_ids["key"], f"app.k-{uuid4().hex[:10]}")
    ]
    codes = [(answer.status_code, answer.json()["code"]) for answer in answers]
    assert codes[0] == codes[1]
    assert codes[0][0] == 404, codes


PLANTED: dict[str, Any] = {
    "tenantId": str(uuid4()),
    "tenant_id": str(uuid4()),
    "role": "owner",
    "isAdmin": True,
    "plan": "enterprise",
    "maxUsers": 10**6,
    "status": "active",
    "scope": "keys:write",
    "epoch": 0,
    "passwordHash": "x",
    "createdAt": "2020-01-01T00:00:00Z",
}
WITH_BODIES = [
    route for route in ROUTES if route.body is not None and route.content_type == "application/json"
]


@each(WITH_BODIES)
async def test_members_that_the_body_does_not_have_are_refused(world: World, route: Declared) -> None:
    """Mass assignment changes nothing: the request is refused as a whole. Catalogue 94."""
    known = await described_members(world, route)
    role = None if route.who.is_open or route.who is Who.OPERATOR else Role.OWNER
    call = await world.call(route, None if route.fresh == "user" else role)
    signed_in = None if role is None else call.caller or world.members[role]
    headers = signed_in.auth if signed_in else caller_of(world, route, None, call)
    planted = sorted(PLANTED.keys() - known)
    assert planted
    for member in planted:
        body = base_body(route, call) | {member: PLANTED[member]}
        answer = await world.ask(route, headers, path=world.path(route, call.params), body=body)
        errors = refusal(answer, 422, "validation_failed")["errors"]
        assert [(error["field"], error["code"]) for error in errors] == [(member, "extra_forbidden")]


def base_body(route: Declared, call: Any) -> dict[str, Any]:
    assert route.body is not None
    if route.path.endswith("/operator/login"):
        return {"email": "nobody@platform.example", "password": "x"}
    body: dict[str, Any] = route.body(call)
    return body


async def described_members(world: World, route: Declared) -> set[str]:
    """Return the members that the description gives the route's body."""
    document = (await world.suite.client.get("/openapi.json")).json()
    body = document["paths"][route.path][route.method.lower()]["requestBody"]["content"]
    schema = body["application/json"]["schema"]
    references = [schema, *schema.get("anyOf", [])]
    found: set[str] = set()
    for reference in references:
        if "$ref" in reference:
            component = document["components"]["schemas"][reference["$ref"].rpartition("/")[2]]
            found |= component["properties"].keys()
    assert found, route.name
    return found
