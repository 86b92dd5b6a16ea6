"""What comes in wrong is told by field; nothing in a body becomes a defect of ours."""

import json
from typing import Any

import pytest

from tests.suite import Suite
from tests.user_service.requests import USERS, code, counted, create

GOOD: dict[str, Any] = {"email": "ada@example.com", "name": "Ada"}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenantId", "01890000-0000-7000-8000-000000000000"),
        ("isAdmin", True),
        ("plan", "enterprise"),
        ("maxUsers", 10**6),
        ("status", "active"),
        ("id", "01890000-0000-7000-8000-000000000000"),
        ("email", None),
        ("email", "nobody"),
        ("email", "ada@example.com\x00"),
        ("email", ["ada@example.com"]),
        ("email", f"{'a' * 60}@{'b' * 250}.com"),
        ("name", None),
        ("name", ""),
        ("name", "   "),
        ("name", "Ada\x00"),
        ("name", "Ada\x1b[31m"),
        ("name", "\ud800"),
        ("name", "x" * 201),
        ("name", 7),
        ("role", "operator"),
        ("role", "OWNER"),
        ("role", None),
        ("password", 12345678),
        ("password", "Half of a pair 1! \ud800"),
        ("attributes", None),
        ("attributes", []),
        ("attributes", {"a": "\x00"}),
        ("attributes", {"\x00": 1}),
        ("attributes", {"a": ["\ud800"]}),
        ("attributes", {"a": float("nan")}),
        ("attributes", {"a": float("inf")}),
        ("attributes", {"a": 10**30}),
        # Kept as a whole number of three hundred digits, which could not be brought back.
        ("attributes", {"a": [1e300]}),
        ("attributes", nested(17)),
        ("attributes", {"a": "x" * 16_384}),
    ],
)
async def test_a_field_that_does_not_fit_is_named(suite: Suite, field: str, value: Any) -> None:
    """Catalogue 94."""
    tenant = await suite.tenant()
    body = json.dumps(GOOD | {field: value})
    headers = tenant.auth | {"Content-Type": "application/json"}
    answer = await suite.client.post(USERS, content=body, headers=headers)
    assert code(answer) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"].split(".")[0] == field
    assert await counted(suite, tenant) == (1, 1)


async def test_a_flood_of_mistakes_is_not_told_one_by_one(suite: Suite) -> None:
    tenant = await suite.tenant()
    unknown = GOOD | {f"field{number}": 1 for number in range(10_000)}
    answer = await suite.client.post(USERS, json=unknown, headers=tenant.auth)
    assert code(answer) == (422, "validation_failed")
    assert [error["code"] for error in answer.json()["errors"]] == ["too_many_fields"]
    keys = {"name": "Program", "scopes": [f"scope:{number}" for number in range(10_000)]}
    answer = await suite.client.post("/api/v1/auth/api-keys", json=keys, headers=tenant.auth)
    assert code(answer) == (422, "validation_failed")
    assert len(answer.json()["errors"]) == 100


@pytest.mark.parametrize(
    "field", ["name", "role", "status", "attributes", "email", "password", "epoch", "version"]
)
async def test_a_change_to_null_or_to_what_cannot_change_is_named(suite: Suite, field: str) -> None:
    """Catalogue 94."""
    tenant = await suite.tenant()
    user = await create(suite, tenant, "ada@example.com")
    answer = await suite.client.patch(f"{USERS}/{user['id']}", json={field: None}, headers=tenant.auth)
    assert code(answer) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"] == field


async def test_an_empty_change_changes_nothing(suite: Suite) -> None:
    tenant = await suite.tenant()
    user = await create(suite, tenant, "ada@example.com")
    answer = await suite.client.patch(f"{USERS}/{user['id']}", json={}, headers=tenant.auth)
    assert answer.json() == user
    assert answer.headers["etag"] == '"1"'


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b"{", (400, "body_malformed")),
        ("application/json", b'{"email": "\xff"}', (400, "body_malformed")),
        ("application/json", b"[" * 100_000, (400, "body_malformed")),
        ("application/json", b"[]", (422, "validation_failed")),
        ("application/json", b"null", (422, "validation_failed")),
        ("application/json", b"", (422, "validation_failed")),
        ("text/plain", b'{"email": "a@example.com", "name": "A"}', (415, "unsupported_media_type")),
        ("application/x-www-form-urlencoded", b"email=a@example.com", (415, "unsupported_media_type")),
        ("application/json", b'{"name": "' + b"x" * 2**20 + b'"}', (413, "body_too_large")),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_as_what_it_is(
    suite: Suite, content_type: str, body: bytes, expected: tuple[int, str]
) -> None:
    tenant = await suite.tenant()
    answer = await suite.client.post(
        USERS, content=body, headers=tenant.auth | {"Content-Type": content_type}
    )
    assert code(answer) == expected


@pytest.mark.parametrize(("method", "path"), [("PUT", USERS), ("POST", f"{USERS}/me"), ("DELETE", USERS)])
async def test_a_method_no_route_takes_is_refused(suite: Suite, method: str, path: str) -> None:
    tenant = await suite.tenant()
    assert code(await suite.client.request(method, path, headers=tenant.auth)) == (405, "method_not_allowed")
