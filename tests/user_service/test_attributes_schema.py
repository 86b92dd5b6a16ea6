"""A tenant's JSON Schema for the attributes of its users."""

import json
from typing import Any

import pytest

from mis_accounts.attributes import require_schema
from mis_tenancy.errors import ValidationFailed
from mis_tenancy.json_schemas import steps_of
from tests.auth_service.links import accept, invite, token_of
from tests.suite import PASSWORD, Suite, TenantHandle
from tests.tenant_service.imports import archive_of, imported, user_row
from tests.user_service.requests import USERS, code, create

KEY = "users.attributes_schema"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["team"],
    "additionalProperties": False,
    "properties": {
        "team": {"enum": ["north", "south"]},
        "desk": {"type": "integer", "minimum": 1},
        "mail": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}},
    },
}


async def set_schema(suite: Suite, tenant: TenantHandle, schema: Any) -> Any:
    body = {"configKey": KEY, "configValue": schema}
    answer = await suite.client.post(f"/api/v1/tenants/{tenant.id}/config", json=body, headers=tenant.auth)
    await suite.tenancy().feed.poll()
    return answer


def told(answer: Any) -> dict[str, str]:
    assert code(answer) == (422, "validation_failed")
    return {one["field"]: one["message"] for one in answer.json()["errors"]}


async def test_attributes_are_held_to_the_schema_with_the_path_of_each_fault(suite: Suite) -> None:
    tenant = await suite.tenant()
    assert (await set_schema(suite, tenant, SCHEMA)).status_code == 200
    body = {"email": "ada@x.example", "name": "Ada"}
    attributes = {"desk": 0, "mail": "nobody", "tags": ["ok", "too long"], "extra": 1}
    faults = told(await suite.client.post(USERS, json=body | {"attributes": attributes}, headers=tenant.auth))
    assert faults == {
        "attributes.team": "is required",
        "attributes.desk": "does not meet `minimum`: 1",
        "attributes.mail": 'does not meet `format`: "email"',
        "attributes.tags.1": "does not meet `maxLength`: 5",
        "attributes.extra": "is not a field of the schema",
    }
    missing = told(await suite.client.post(USERS, json=body, headers=tenant.auth))
    assert missing == {"attributes.team": "is required"}
    await create(suite, tenant, "ada@x.example", attributes={"team": "north", "tags": ["a"]})


async def test_who_was_there_before_stays_until_the_attributes_change(suite: Suite) -> None:
    tenant = await suite.tenant()
    viewer = await suite.user(tenant, "viewer", password=PASSWORD, attributes={"team": "west"})
    await set_schema(suite, tenant, SCHEMA)
    path = f"{USERS}/{viewer.id}"
    renamed = await suite.client.patch(path, json={"name": "Vera"}, headers=tenant.auth)
    assert (renamed.status_code, renamed.json()["attributes"]) == (200, {"team": "west"})
    for target, headers in ((path, tenant.auth), (f"{USERS}/me", viewer.auth)):
        answer = await suite.client.patch(target, json={"attributes": {"team": "east"}}, headers=headers)
        assert told(answer) == {"attributes.team": 'does not meet `enum`: ["north","south"]'}
        good = await suite.client.patch(target, json={"attributes": {"team": "south"}}, headers=headers)
        assert good.json()["attributes"] == {"team": "south"}


async def test_imported_rows_are_held_to_the_schema_each_for_itself(suite: Suite) -> None:
    tenant = await suite.tenant()
    await set_schema(suite, tenant, SCHEMA)
    rows = [
        {"email": "a@x.example", "name": "A", "attributes": {"team": "north"}},
        {"email": "b@x.example", "name": "B", "attributes": {"team": "west"}},
        {"email": "c@x.example", "name": "C"},
    ]
    answer = await suite.client.post(
        f"{USERS}/import",
        content="\n".join(map(json.dumps, rows)),
        headers=tenant.auth | {"Content-Type": "application/x-ndjson"},
    )
    problems = {row["row"]: row["problem"]["errors"][0]["field"] for row in answer.json()["rows"][1:]}
    assert answer.json()["created"] == 1
    assert problems == {2: "attributes.team", 3: "attributes.team"}


async def test_who_is_invited_begins_without_attributes_and_is_held_to_the_schema_from_then_on(
    suite: Suite,
) -> None:
    tenant = await suite.tenant()
    await set_schema(suite, tenant, SCHEMA)
    asked = await invite(suite, tenant, "member")
    joined = await accept(suite, token_of(asked["acceptUrl"]))
    assert joined.status_code == 200, joined.text
    own = {"Authorization": f"Bearer {joined.json()['token']}"}
    renamed = await suite.client.patch(f"{USERS}/me", json={"name": "Nina New"}, headers=own)
    assert (renamed.status_code, renamed.json()["attributes"]) == (200, {})
    refused = await suite.client.patch(f"{USERS}/me", json={"attributes": {}}, headers=own)
    # What is as it was is not written.
    assert refused.status_code == 200
    refused = await suite.client.patch(f"{USERS}/me", json={"attributes": {"desk": 1}}, headers=own)
    assert told(refused) == {"attributes.team": "is required"}


async def test_an_archive_brings_attributes_back_that_meet_the_schema_of_today(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    known = [await create(suite, tenant, f"known{n}@x.example", attributes={"team": "west"}) for n in (1, 2)]
    await set_schema(suite, tenant, SCHEMA)
    rows = [
        user_row("new1@x.example", attributes={"team": "north"}),
        user_row("new2@x.example", attributes={"team": "west"}),
        user_row("new3@x.example", attributes={}),
        user_row(known[0]["email"], id=known[0]["id"], attributes={"team": "east"}),
        # Somebody who has changed in name alone keeps what is older than the schema.
        user_row(known[1]["email"], id=known[1]["id"], attributes={"team": "west"}, name="Nora New"),
    ]
    report = (await imported(suite, tenant, archive_of(tenant, users=rows)))["report"]
    conflicts = report["dataTypes"]["users"]["firstConflicts"]
    assert [(one["row"], one["code"]) for one in conflicts] == [
        (2, "attributes_schema"),
        (4, "attributes_schema"),
    ]
    users = (await suite.client.get(USERS, headers=tenant.auth)).json()
    assert {user["email"]: user["attributes"] for user in users if user["role"] == "viewer"} == {
        "new1@x.example": {"team": "north"},
        "new3@x.example": {},
    }
    assert {user["name"] for user in users if user["attributes"] == {"team": "west"}} >= {"Nora New"}


async def test_a_schema_that_could_run_for_ever_is_refused_and_removing_it_frees(suite: Suite) -> None:
    tenant = await suite.tenant()
    for schema in ({"pattern": "^(a+)+$"}, {"$ref": "https://elsewhere.example/s"}, {"type": "text"}, 7):
        refused = await set_schema(suite, tenant, schema)
        assert code(refused) == (422, "config_invalid")
        assert KEY in refused.json()["errors"][0]["message"]
    await set_schema(suite, tenant, SCHEMA)
    await suite.client.delete(f"/api/v1/tenants/{tenant.id}/config/{KEY}", headers=tenant.auth)
    await suite.tenancy().feed.poll()
    await create(suite, tenant, "ada@x.example")


async def test_only_who_may_write_configuration_sets_the_schema(suite: Suite) -> None:
    tenant = await suite.tenant()
    body = {"configKey": KEY, "configValue": {}}
    path = f"/api/v1/tenants/{tenant.id}/config"
    for role, status in (("admin", 200), ("member", 403)):
        user = await suite.user(tenant, role)
        assert (await suite.client.post(path, json=body, headers=user.auth)).status_code == status


def test_attributes_that_a_schema_would_take_long_over_are_refused_unread() -> None:
    schema = {"additionalProperties": {"items": {"anyOf": [{"const": number} for number in range(300)]}}}
    with pytest.raises(ValidationFailed) as refused:
        require_schema({KEY: schema}, {"a": [0] * 7_000})
    assert refused.value.members["errors"][0]["code"] == "attributes_too_complex"
    require_schema({KEY: schema}, {"a": [0] * 3})
    form = {"properties": {f"field{number}": {"type": "string", "maxLength": 9} for number in range(150)}}
    require_schema({KEY: form}, {f"field{number}": "x" for number in range(150)})


@pytest.mark.parametrize(
    ("schema", "value", "steps"),
    [
        ({}, {"a": 1}, 1),
        (True, {"a": 1}, 0),
        ({"type": "object", "maxProperties": 9}, {"a": 1}, 3),
        ({"anyOf": [{"type": "null"}, {"type": "object"}]}, {}, 5),
        ({"not": {"allOf": [{"not": {}}]}}, {}, 6),
        ({"properties": {"a": {"type": "null"}, "b": {"type": "null"}}}, {"a": 1}, 3),
        ({"properties": {"a": True}, "additionalProperties": {"type": "null"}}, {"a": 1, "b": 2, "c": 3}, 7),
        ({"prefixItems": [{}], "items": {"enum": [1, 2, 3]}}, [1, 1, 1], 13),
        ({"enum": [[1, 2], 3]}, "x", 3),
        ({"enum": [[1, 2], 3]}, [], 5),
        ({"required": ["a", "b"]}, {}, 3),
    ],
)
def test_what_a_schema_costs_is_counted(schema: Any, value: Any, steps: int) -> None:
    assert steps_of(schema, value, 10**9) == steps


def test_no_schema_takes_long_over_the_largest_attributes() -> None:
    branches = [{"type": "null"}] * 380
    for schema in (
        {"additionalProperties": {"oneOf": [*branches, {}]}},
        {"allOf": [{"additionalProperties": {"type": "null", "enum": [1, 2]}}] * 120},
        {"additionalProperties": {"enum": [str(number) for number in range(1_000)]}},
    ):
        attributes = {f"k{number}": number for number in range(18)}
        with pytest.raises(ValidationFailed) as refused:
            require_schema({KEY: schema}, attributes)
        assert refused.value.members["errors"][0]["code"] == "attributes_too_complex"


def test_a_name_that_is_missing_is_told_once_however_many_there_are() -> None:
    names = [f"k{number}" for number in range(20)]
    faults: dict[str, list[Any]] = {}
    for required in (["a"] * 900, names, names * 30):
        with pytest.raises(ValidationFailed) as refused:
            require_schema({KEY: {"required": required}}, {})
        faults[required[0]] = [error["field"] for error in refused.value.members["errors"]]
    assert faults == {"a": ["attributes.a"], "k0": [f"attributes.{name}" for name in names]}


def test_the_count_stops_where_it_is_too_much() -> None:
    schema: Any = {}
    for _ in range(10):
        schema = {"allOf": [schema] * 40}
    assert steps_of(schema, {}, 2_000) < 3_000
