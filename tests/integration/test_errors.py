"""Whatever is wrong with a request, the answer is a problem document and never a defect of ours."""

import json
import random
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.answers import fine, refused
from tests.integration.rig import AUTH, TENANTS, USERS
from tests.isolation.routes import ROUTES, Call, Declared, Who
from tests.suite import Suite, TenantHandle, fresh_address

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")
MIB = 2**20


def path_of(route: Declared, tenant: TenantHandle) -> str:
    """Return the route's path in the tenant; other ids in it name nothing."""
    ids = {"id": str(tenant.id), "key": "app.none", "plan": "basic"}
    return route.path.format_map(AnyId(ids))


class AnyId(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return str(uuid4())


@pytest.fixture(scope="module")
async def tenant(suite: Suite) -> TenantHandle:
    return await suite.tenant("custom")


async def ask(suite: Suite, method: str, path: str, headers: Any = None, **options: Any) -> httpx.Response:
    """Send a request from an address of its own."""
    async with suite.client_at(fresh_address()) as client:
        return await client.request(method, path, headers=headers, **options)


UNKNOWN = ("/", "/nope", "/api", "/api/v1", "/api/v2/users", "/api/v1/userss", "/metrics", "/favicon.ico")


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_path_is_404(suite: Suite, tenant: TenantHandle, path: str, method: str) -> None:
    """Catalogue 22."""
    for headers in ({}, tenant.auth):
        answer = await ask(suite, method, path, headers)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "route_not_found"


BELOW = (f"{USERS}/x/y/z", f"{AUTH}/nope", f"{TENANTS}/a/b/c/d/e", "/api/v1/plans/basic/x", "/.well-known/x")


@pytest.mark.parametrize("path", BELOW)
async def test_a_path_below_a_services_prefix_that_it_does_not_serve_is_404(
    suite: Suite, tenant: TenantHandle, path: str
) -> None:
    """Catalogue 22."""
    for headers in ({}, tenant.auth, suite.operator):
        answer = await ask(suite, "GET", path, headers)
        if headers == suite.operator and path.startswith(USERS):
            refused(answer, 403, "act_as_required")
        else:
            refused(answer, 404, "route_not_found")


PATHS = sorted({route.path for route in ROUTES})


@pytest.mark.parametrize("path", PATHS)
async def test_a_method_that_a_path_does_not_take_is_405_and_names_those_it_takes(
    suite: Suite, tenant: TenantHandle, path: str
) -> None:
    """Catalogue 22."""
    here = [route for route in ROUTES if route.path == path]
    taken = {route.method for route in here}
    for method in set(METHODS) - taken - {"HEAD"}:
        concrete = path_of(here[0], tenant)
        # `PUT /users/import` meets the route of a user whose id would be `import`.
        answer = await ask(suite, method, concrete, tenant.auth)
        if answer.status_code == 404 and answer.json()["code"] != "route_not_found":
            continue
        document = refused(answer, 405, "method_not_allowed")
        assert document["detail"]
        allowed = {one.strip() for one in answer.headers["allow"].split(",")}
        # A path that a pattern takes too, as `/users/import` is taken by `/users/{id}`, allows more.
        assert allowed >= taken
        assert allowed <= {"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"}
        assert method not in allowed


READ = [route for route in ROUTES if route.is_read]


@pytest.mark.parametrize("route", READ, ids=[route.name for route in READ])
async def test_a_head_carries_no_body_of_anybodys(
    suite: Suite, tenant: TenantHandle, route: Declared
) -> None:
    """Catalogue 22."""
    answer = await ask(suite, "HEAD", path_of(route, tenant), {} if route.who.is_open else tenant.auth)
    assert answer.status_code < 500
    assert tenant.slug not in answer.text


WITH_BODIES = [
    route for route in ROUTES if route.body is not None and route.content_type == "application/json"
]


def caller(suite: Suite, tenant: TenantHandle, route: Declared) -> dict[str, str]:
    if route.who.is_open:
        return {}
    return suite.operator if route.who is Who.OPERATOR else tenant.auth


@pytest.mark.parametrize("route", WITH_BODIES, ids=[route.name for route in WITH_BODIES])
async def test_a_body_that_is_not_what_it_should_be(
    suite: Suite, tenant: TenantHandle, route: Declared
) -> None:
    path, headers = path_of(route, tenant), caller(suite, tenant, route)
    is_json = headers | {"Content-Type": "application/json"}
    for broken in (b"{", b'{"a":', b"nope", b"\xff\xfe", b'{"a": 1}}', b"[" * 5_000):
        refused(await ask(suite, route.method, path, is_json, content=broken), 400, "body_malformed")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"):
        answer = await ask(suite, route.method, path, headers | {"Content-Type": kind}, content=b'{"a": 1}')
        refused(answer, 415, "unsupported_media_type")
    for body in ("[]", '"x"', "1", "true"):
        answer = await ask(suite, route.method, path, is_json, content=body.encode())
        assert refused(answer, 422, "validation_failed")["errors"]
    large = json.dumps({"x": "y" * (MIB + 1)}).encode()
    assert refused(await ask(suite, route.method, path, is_json, content=large), 413, "body_too_large")


async def test_a_body_without_a_declared_length_is_bounded_as_well(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 113."""
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536

    is_json = tenant.auth | {"Content-Type": "application/json"}
    refused(await ask(suite, "POST", USERS, is_json, content=endless()), 413, "body_too_large")
    assert sent < 3 * MIB


async def test_an_answer_carries_the_requests_id_or_one_of_ours(suite: Suite, tenant: TenantHandle) -> None:
    given = "trace-me.1234"
    answer = await ask(suite, "GET", USERS, tenant.auth | {"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given
    for insane in ("x" * 500, "a b", "é".encode().decode("latin-1"), '"; drop', ""):
        headers = httpx.Headers([*tenant.auth.items(), ("X-Request-ID", insane)], encoding="latin-1")
        own = (await ask(suite, "GET", USERS, headers)).headers["x-request-id"]
        assert own != insane
        assert own


# Values that have broken parsers, databases and formatters before.
JUNK: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        2**31,
        2**63,
        2**70,
        1e308,
        [],
        [[]],
        {},
        {"a": {"b": []}},
        "",
        " ",
        "\x00",
        "\ud83d",
    ),
    *(
        "' or 1=1 --",
        "%s%n",
        "{{7*7}}",
        "../../etc/passwd",
        "\u202e\ufeff",
        "a" * 4_000,
        "NaN",
        "-0",
        "\U0001d518",
    ),
    *(
        "01a20b02-786c-7e83-81d4-2c1000144c7e",
        "2026-13-45T99:99:99Z",
        "0000-00-00",
        "true",
        "[object Object]",
    ),
)
MEMBERS = (
    *("email", "name", "role", "password", "attributes", "status", "refreshToken", "tenantSlug", "tenantId"),
    *("reason", "configKey", "configValue", "isEncrypted", "version", "slug", "plan", "features", "settings"),
    *("owner", "maxUsers", "monthlyPrice", "currentPassword", "newPassword", "domain", "x"),
)
PARAMETERS = (
    *("limit", "order", "cursor", "q", "role", "status", "plan", "from", "to", "actor", "action", "outcome"),
    *("kind", "reveal", "timeRange", "tenant[]", "", "%00", "dryRun"),
)
HEADERS = (
    *(
        "If-Match",
        "If-None-Match",
        "Idempotency-Key",
        "Accept",
        "Content-Type",
        "X-Request-ID",
        "Traceparent",
    ),
    *("X-Forwarded-For", "X-Forwarded-Host", "Range", "Cookie", "Origin", "User-Agent", "Content-Encoding"),
)


def junk_text(chance: random.Random) -> str:
    text = str(chance.choice(JUNK))
    return text.encode("utf-8", "replace").decode()


def junk_body(chance: random.Random, right: dict[str, Any]) -> Any:
    """Return a body that is right but for some members, or not even an object."""
    if chance.random() < 0.1:
        return chance.choice([[right], *JUNK])
    names = sorted(right) if right and chance.random() < 0.8 else list(MEMBERS)
    wrong = chance.sample(names, min(len(names), chance.randrange(1, 4)))
    return right | {name: chance.choice(JUNK) for name in wrong}


def junk_request(chance: random.Random, route: Declared, body: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a request that is wrong in some places and right in others."""
    path = route.path
    for name in ("{user_id}", "{session_id}", "{key}", "{plan}", "{id}"):
        if name in path and chance.random() < 0.5:
            text = junk_text(chance)[:200] or "x"
            path = path.replace(name, "".join(f"%{byte:02x}" for byte in text.encode()))
    headers = {
        name: junk_text(chance)[:300].replace("\x00", "").encode("ascii", "replace").decode()
        for name in chance.sample(HEADERS, chance.randrange(2))
    }
    query = [(name, junk_text(chance)) for name in chance.sample(PARAMETERS, chance.randrange(4))]
    options: dict[str, Any] = {"params": query}
    if route.method not in ("GET", "DELETE") or chance.random() < 0.1:
        options["content"] = json.dumps(junk_body(chance, body)).encode()
        headers.setdefault("Content-Type", "application/json")
    return {"path": path, "headers": headers, "options": options}


# A sign-out or a changed password would end the fuzzing; a rotation is not about input.
SPARED = ("/logout", "/signing-keys/rotate")
FUZZED = [route for route in ROUTES if not route.path.endswith(SPARED)]


@pytest.mark.parametrize("route", FUZZED, ids=[route.name for route in FUZZED])
async def test_no_input_reaches_a_5xx(suite: Suite, route: Declared) -> None:
    """Catalogue 43, 142."""
    # Of its own, because junk may by chance be right and, say, end a session.
    tenant = await suite.tenant("custom")
    chance = random.Random(f"{route.name}-2026")
    unique = uuid4().hex[:8]
    for number in range(40):
        call = Call(
            tenant, tenant.owner, {"token": f"made-up-{number}", "csrf": "made-up"}, f"{number}x{unique}"
        )
        right = None if route.body is None else route.body(call)
        request = junk_request(chance, route, right if isinstance(right, dict) else {})
        path = request["path"].format_map(AnyId({"id": str(tenant.id), "key": "app.k", "plan": "basic"}))
        authority = chance.choice([tenant.auth, tenant.auth, suite.operator, {}])
        answer = await ask(suite, route.method, path, request["headers"] | authority, **request["options"])
        # 501 says that an extra is not installed, which no input has brought about.
        assert answer.status_code < 500 or answer.status_code == 501, (route.name, request, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", (request, answer.text)
            document = answer.json()
            assert {"type", "title", "status", "detail", "instance", "code", "requestId"} <= document.keys()
            for word in ("Traceback", "SELECT", "sqlalchemy", "asyncpg", "pydantic"):
                assert word not in answer.text, (route.name, request, answer.text)
    fine(await suite.client.get("/readyz"))
