"""Resolution through a real server: hosts, targets and paths that try to name another tenant, or none."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from mis_cli.serving.wire import LARGEST_HEAD, ProblemProtocol
from mis_http import limits
from tests.answers import fine, refused
from tests.auth_service.requests import set_status
from tests.integration.rig import AUTH, TENANTS, USERS, flush
from tests.integration.wire import Answer, exchange, raw, request, served, served_app
from tests.mis_tenancy.redis_fixtures import eventually
from tests.suite import Suite, TenantHandle, fresh_address

POLICY = f"{AUTH}/password-policy"
_addresses = count(1)


@dataclass
class Wire:
    suite: Suite
    port: int
    home: TenantHandle
    other: TenantHandle

    async def ask(
        self, target: str, *lines: str, host: str | None = "testserver", method: str = "GET"
    ) -> Answer:
        return await exchange(self.port, request(target, *lines, host=host, method=method))

    @property
    def bearer(self) -> str:
        return f"Authorization: Bearer {self.home.owner_token}"


@pytest.fixture(scope="module")
async def wire(suite: Suite) -> AsyncIterator[Wire]:
    # Every request comes from one address here, which may ask more often than strangers elsewhere.
    before = {}
    for service in suite.apps:
        settings = suite.tenancy(service).settings
        before[service] = settings.anonymous_per_second
        object.__setattr__(settings, "anonymous_per_second", 100_000)
    async with served(suite) as port:
        yield Wire(suite, port, await suite.tenant("custom"), await suite.tenant("custom"))
    for service, rate in before.items():
        object.__setattr__(suite.tenancy(service).settings, "anonymous_per_second", rate)


def code(answer: Answer) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer
    return answer.status, json.loads(answer.body)["code"]


NO_TENANT_HOSTS = (
    *("{}.mis.local.evil.com", "evil-{}.mis.local.example", "a.{}.mis.local", "mis.local", "www.mis.local"),
    *(
        "api.mis.local",
        "admin.mis.local",
        "127.0.0.1",
        "[::1]:8000",
        "{}.example",
        "testserver:80",
        "{}mis.local",
    ),
)


@pytest.mark.parametrize("host", NO_TENANT_HOSTS)
async def test_a_host_outside_the_base_domains_names_nobody(wire: Wire, host: str) -> None:
    """Catalogue 14."""
    named = host.format(wire.other.slug)
    answer = await wire.ask(POLICY, host=named)
    assert code(answer) in ((400, "tenant_required"), (404, "tenant_not_found"))
    # No name is no disagreement: the token alone decides.
    answer = await wire.ask(f"{USERS}?limit=1", wire.bearer, host=named)
    if answer.status == 200:
        assert json.loads(answer.body)[0]["email"] == wire.home.owner_email
    else:
        assert code(answer)[0] in (400, 403)


@pytest.mark.parametrize("spelling", ["{}.mis.local", "{}.MIS.Local", "{}.mis.local.", "{}.mis.local:8000"])
async def test_a_subdomain_is_read_in_any_spelling_of_one_name(wire: Wire, spelling: str) -> None:
    """Catalogue 15."""
    for slug in (wire.home.slug, wire.home.slug.upper()):
        assert (await wire.ask(POLICY, host=spelling.format(slug))).status == 200
        assert (await wire.ask(USERS, wire.bearer, host=spelling.format(slug))).status == 200
    answer = await wire.ask(USERS, wire.bearer, host=spelling.format(wire.other.slug))
    assert code(answer) == (403, "tenant_mismatch")


HOSTILE_HOSTS = (
    *("{}.mis.local:80@evil", "{}.mis.local/../admin", "{}.mis.local#x", "{}.mis.local?x", "{} .mis.local"),
    *("{}.mis.local\\x", "{}.mis.local,evil.example", "x/api/v1/auth/login?", "x/api/v1/plans?", "%00", ""),
    *(
        "a" * 300 + ".mis.local",
        "{}.mis.local:99999999",
        "xn--{}.mis.local",
        "\uff48ome.mis.local",
        "[::1",
        "user@{}.mis.local",
    ),
)


@pytest.mark.parametrize("host", HOSTILE_HOSTS, ids=lambda host: ascii(host)[:30])
async def test_a_hostile_host_is_refused_or_names_nobody(wire: Wire, host: str) -> None:
    """Catalogue 15, 16."""
    for slug in (wire.other.slug, wire.home.slug):
        named = host.format(slug)
        open_route = await wire.ask(POLICY, host=named)
        assert open_route.status in (0, 400, 404), open_route
        closed = await wire.ask(f"{USERS}?limit=1", host=named)
        assert closed.status in (0, 400, 401), closed
        own = await wire.ask(f"{USERS}?limit=1", wire.bearer, host=named)
        assert own.status in (0, 200, 400, 403), own
        assert wire.other.slug.encode() not in own.body


async def test_no_host_and_two_hosts(wire: Wire) -> None:
    """Catalogue 15."""
    assert (await wire.ask(USERS, wire.bearer, host=None)).status in (200, 400)
    twice = await wire.ask(USERS, wire.bearer, f"Host: {wire.other.slug}.mis.local")
    assert code(twice)[0] == 400


async def test_a_forwarded_host_of_a_stranger_counts_for_nothing(wire: Wire) -> None:
    """Catalogue 17."""
    forwarded = f"X-Forwarded-Host: {wire.other.slug}.mis.local"
    assert code(await wire.ask(POLICY, forwarded)) == (400, "tenant_required")
    assert (await wire.ask(USERS, wire.bearer, forwarded)).status == 200
    for more in (f"Forwarded: host={wire.other.slug}.mis.local", f"X-Host: {wire.other.slug}.mis.local"):
        assert code(await wire.ask(POLICY, more)) == (400, "tenant_required")


async def test_the_host_of_an_absolute_target_never_makes_it_another_tenants(wire: Wire) -> None:
    """Our server hands the path on without it; where one hands it on, a difference is 400. Catalogue 18."""
    other = f"http://{wire.other.slug}.mis.local"
    assert code(await wire.ask(other + POLICY)) == (400, "tenant_required")
    own = await wire.ask(f"{other}{USERS}", wire.bearer)
    assert [user["email"] for user in json.loads(own.body)] == [wire.home.owner_email]
    headers = [(b"host", f"{wire.home.slug}.mis.local".encode())]
    answer = await raw(wire.suite.apps["auth"], {"path": other + POLICY, "headers": headers})
    assert code(answer) == (400, "tenant_malformed")


HEADER_NAMES = (
    "X_Tenant_ID",
    "X-Tenant_ID",
    "X.Tenant.ID",
    "XTenantID",
    "X-Tenant-ID2",
    "Tenant-ID",
    "X-TenantId",
)


@pytest.mark.parametrize("name", HEADER_NAMES)
async def test_a_name_that_only_resembles_the_headers_is_another_header(wire: Wire, name: str) -> None:
    """Catalogue 11."""
    assert code(await wire.ask(POLICY, f"{name}: {wire.home.id}")) == (400, "tenant_required")
    assert (await wire.ask(USERS, wire.bearer, f"{name}: {wire.other.id}")).status == 200


async def test_the_headers_names_are_equal_in_any_case_and_take_no_space(wire: Wire) -> None:
    """Catalogue 11."""
    for name in ("x-tenant-id", "X-TENANT-ID", "x-Tenant-iD"):
        assert (await wire.ask(POLICY, f"{name}: {wire.home.id}")).status == 200
        assert code(await wire.ask(USERS, wire.bearer, f"{name}: {wire.other.id}")) == (
            403,
            "tenant_mismatch",
        )
    spaced = await wire.ask(POLICY, f"X-Tenant-ID : {wire.home.id}")
    assert spaced.status in (0, 400), spaced
    folded = await wire.ask(POLICY, f"X-Tenant-ID: {str(wire.home.id)[:8]}", f" {str(wire.home.id)[8:]}")
    assert folded.status in (0, 400), folded


TRICK_PATHS = (
    *(
        "//api/v1/users",
        "/api/v1//users",
        "/api/v1/auth/../users",
        "/api/v1/auth/..%2fusers",
        "/api/v1/users/",
    ),
    *(
        "/api/v1/%75sers",
        "/api/v1/users;x=1",
        "/api/v1/users%00",
        "/api/v1\\users",
        "/api/v1/auth/login/../me",
    ),
    *(
        "/API/V1/USERS",
        "/api/v1/users%2f",
        "/./api/v1/users",
        "/api/v1/plans/%2e%2e/users",
        "/api/v1/users%20",
    ),
    *(
        "/healthz/../api/v1/users",
        "/api/v1/auth/login/..;/../users",
        "/.well-known/../api/v1/users",
        "/api/v1/users?",
    ),
)


@pytest.mark.parametrize("path", TRICK_PATHS)
async def test_a_trick_path_is_protected_like_its_route_or_nothing(wire: Wire, path: str) -> None:
    """Catalogue 19."""
    stranger = await wire.ask(path)
    assert stranger.status in (0, 400, 401, 404), stranger
    member = await wire.ask(path, wire.bearer, f"X-Tenant-ID: {wire.other.id}")
    assert member.status in (0, 400, 403, 404), member


QUERIES = (
    ("?tenant={a}&tenant={a}", (400, "tenant_ambiguous")),
    ("?tenant={a}&tenant={b}", (400, "tenant_ambiguous")),
    ("?tenant={a}&%74enant={b}", (400, "tenant_ambiguous")),
    ("?tenant=", (400, "tenant_malformed")),
    ("?tenant", (400, "tenant_malformed")),
    ("?tenant={a}%00", (400, "tenant_malformed")),
    ("?tenant[]={a}", (400, "tenant_required")),
    ("?Tenant={a}", (400, "tenant_required")),
    ("?x=1;tenant={a}", (400, "tenant_required")),
    ("?%2574enant={a}", (400, "tenant_required")),
)


@pytest.mark.parametrize(("query", "expected"), QUERIES)
async def test_a_query_names_a_tenant_once_or_not_at_all(
    wire: Wire, query: str, expected: tuple[int, str]
) -> None:
    """Catalogue 12."""
    target = POLICY + query.format(a=wire.home.slug, b=wire.other.slug)
    assert code(await wire.ask(target)) == expected


@pytest.mark.parametrize(
    ("name", "path"),
    [("Host", "/api/v1/auth/login"), ("Host", "/api/v1/plans"), ("Host", "/healthz"), ("Host", "/docs")],
)
async def test_a_host_that_ends_in_an_open_path_opens_nothing(wire: Wire, name: str, path: str) -> None:
    """A server that lets such a host through does not turn a closed route into an open one. Catalogue 16."""
    client = (f"10.252.0.{next(_addresses)}", 1)
    for value in (f"x{path}?", f"x{path}#", f"x{path}/"):
        headers = [(name.lower().encode(), value.encode())]
        answer = await raw(wire.suite.gateway, {"path": USERS, "headers": headers, "client": client})
        assert answer.status in (400, 401), answer


async def test_an_open_route_with_another_tenants_bearer_serves_the_named_tenant(wire: Wire) -> None:
    """Catalogue 20."""
    bearer = f"Authorization: Bearer {wire.other.owner_token}"
    assert (await wire.ask(POLICY, bearer, f"X-Tenant-Slug: {wire.home.slug}")).status == 200
    body = {"email": wire.home.owner_email, "password": wire.home.owner_password}
    async with wire.suite.client_at(fresh_address()) as client:
        headers = wire.other.auth | {"X-Tenant-Slug": wire.home.slug}
        answer = fine(await client.post(f"{AUTH}/login", json=body, headers=headers))
    assert answer["tenant"]["id"] == str(wire.home.id)


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def test_an_upgrade_is_resolved_like_a_request(wire: Wire) -> None:
    """Catalogue 21."""

    async def upgrade(path: str, *lines: str) -> Answer:
        head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: testserver", *UPGRADE, *lines, "", ""])
        return await exchange(wire.port, head.encode())

    for path in (USERS, f"{AUTH}/me", f"{TENANTS}/{wire.home.id}", "/nope"):
        for lines in (
            (),
            (wire.bearer,),
            (wire.bearer, f"X-Tenant-ID: {wire.other.id}"),
            ("X-Tenant-ID: x",),
        ):
            answer = await upgrade(path, *lines)
            assert 400 <= answer.status < 500, (path, lines, answer)
            assert wire.other.slug.encode() not in answer.body


async def test_a_client_that_hangs_up_leaves_the_connection_clean(wire: Wire) -> None:
    """Catalogue 26."""
    suite, tenants = wire.suite, (wire.home, wire.other)

    async def hang_up(number: int) -> None:
        tenant = tenants[number % 2]
        _, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        sent = request(f"{USERS}?limit=20", f"Authorization: Bearer {tenant.owner_token}")
        writer.write(sent if number % 5 else sent[:-4])
        await writer.drain()
        await asyncio.sleep(number % 7 * 0.001)
        writer.transport.abort()

    for start in range(0, 300, 30):
        await asyncio.gather(*(hang_up(number) for number in range(start, start + 30)))
        for tenant in tenants:
            (owner,) = fine(await suite.client.get(USERS, headers=tenant.auth))
            assert owner["email"] == tenant.owner_email
    recorder = suite.tenancy("user").recorder
    await eventually(lambda: recorder.open == 0)
    await flush(suite)


async def test_a_request_that_is_no_http_is_refused_by_the_server(wire: Wire) -> None:
    refused = 0
    for nonsense in (b"\x16\x03\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        writer.write(nonsense)
        writer.write_eof()
        async with asyncio.timeout(20):
            answer = await reader.read()
        assert not answer.startswith(b"HTTP/1.1 2")
        if answer:
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 ")
            assert b"content-type: application/problem+json" in head
            assert json.loads(body)["code"] == "request_malformed"
            refused += 1
        writer.close()
    assert refused >= 2
    assert (await wire.ask("/healthz")).status == 200


LARGE = "x" * LARGEST_HEAD


@pytest.mark.parametrize(
    "head",
    [
        f"GET /{LARGE} HTTP/1.1\r\nHost: testserver\r\n\r\n",
        f"GET /healthz HTTP/1.1\r\nHost: testserver\r\nX-Large: {LARGE}\r\n\r\n",
        f"GET /healthz HTTP/1.1\r\nHost: testserver\r\n{LARGE}: x\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: testserver\r\n" + "A: b\r\n" * LARGEST_HEAD + "\r\n",
        # What has no end in sight is kept nowhere.
        f"GET /{LARGE * 8}",
        f"GET /healthz HTTP/1.1\r\nX-Large: {LARGE * 8}",
        f"POST {AUTH}/login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Large: {LARGE * 8}",
    ],
    ids=["line", "value", "name", "many", "endless line", "endless value", "endless trailer"],
)
async def test_a_head_beyond_all_measure_is_refused_before_it_is_kept(wire: Wire, head: str) -> None:
    answer = await exchange(wire.port, head.encode())
    # A server that hangs up on somebody who is still sending may not be heard any more.
    if answer.status:
        assert code(answer) == (431, "headers_too_large")
    assert (await wire.ask("/healthz", f"X-Large: {LARGE[:60_000]}")).status == 200


async def test_a_body_is_no_head_however_large_it_is(wire: Wire) -> None:
    body = b"{" + b" " * 900_000 + b"}"
    head = f"POST {AUTH}/login HTTP/1.1\r\nHost: testserver\r\nContent-Type: application/json\r\n"
    whole = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    assert code(await exchange(wire.port, whole)) == (422, "validation_failed")
    chunks = b"".join(b"1\r\n" + body[at : at + 1] + b"\r\n" for at in range(400)) + b"1\r\n}\r\n"
    chunked = f"{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode() + chunks
    assert code(await exchange(wire.port, chunked + b"0\r\n\r\n")) == (422, "validation_failed")


async def test_a_trailer_is_no_header(wire: Wire) -> None:
    head = f"POST {USERS} HTTP/1.1\r\nHost: testserver\r\n{wire.bearer}\r\nContent-Type: application/json\r\n"
    body = b'{"email": "trailed@example.com", "name": "T"}'
    start = f"{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{len(body):x}\r\n".encode()
    kept: dict[str, Any] = {}
    app = wire.suite.gateway

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        kept.setdefault("headers", scope["headers"])
        await app(scope, receive, send)

    async with served_app(watched) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start + body + b"\r\n0\r\nX-Tenant-ID: " + str(wire.other.id).encode() + b"\r\n\r\n")
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"x-tenant-id" not in dict(kept["headers"])


async def test_a_body_that_does_not_arrive_is_not_waited_for(wire: Wire) -> None:
    silence = limits._PATIENCE.silence
    object.__setattr__(limits._PATIENCE, "silence", 0.05)
    try:
        for path in (f"{AUTH}/login", f"{TENANTS}/{wire.home.id}/import"):
            lines = (wire.bearer, "Content-Type: application/json", "Content-Length: 100")
            if path.endswith("import"):
                lines = (wire.bearer, "Content-Type: application/zip", "Content-Length: 100")
            begun = request(path, *lines, method="POST") + b"{"
            assert code(await exchange(wire.port, begun)) == (408, "upload_too_slow")
    finally:
        object.__setattr__(limits._PATIENCE, "silence", silence)


async def test_a_head_that_does_not_arrive_is_not_waited_for(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProblemProtocol, "patience", 0.05)
    for begun, expected in ((b"", b""), (b"GET /healthz HTTP/1.1\r\nHost:", b"HTTP/1.1 408 ")):
        reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        writer.write(begun)
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith(expected)
        writer.close()


async def test_head_has_the_headers_of_get_and_no_body_on_the_wire(wire: Wire) -> None:
    told = await exchange(wire.port, request("/api/v1/plans"))
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    writer.write(request("/api/v1/plans", method="HEAD"))
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (head.split(b" ")[1], body) == (b"200", b"")
    assert f"content-length: {len(told.body)}".encode() in head


HIDDEN = ("suspended", "pending_deletion", "purged")


@pytest.mark.parametrize("status", [*HIDDEN, "maintenance", "provisioning"])
async def test_a_closed_tenant_is_hidden_from_strangers_and_explained_to_members(
    suite: Suite, status: str
) -> None:
    """Catalogue 3, 4, 5."""
    from_nobody = {"X-Tenant-Slug": "nobody-of-that-name"}
    tenant = await suite.tenant("custom")
    await set_status(suite, tenant, status)
    named = {"X-Tenant-Slug": tenant.slug}
    async with suite.client_at(fresh_address()) as stranger:
        answer = await stranger.get(POLICY, headers=named)
        if status in HIDDEN:
            unknown = refused(await stranger.get(POLICY, headers=from_nobody), 404, "tenant_not_found")
            assert refused(answer, 404, "tenant_not_found") | {"requestId": ""} == unknown | {"requestId": ""}
        else:
            refused(answer, 503, "tenant_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        wrong = {"email": tenant.owner_email, "password": "wrong", "tenantSlug": tenant.slug}
        answer = await stranger.post(f"{AUTH}/login", json=wrong)
        assert answer.status_code in (401, 503), answer.text
    expected = {
        "suspended": (403, "tenant_suspended"),
        "pending_deletion": (403, "tenant_pending_deletion"),
        "purged": (401, "token_revoked"),
    }.get(status, (503, "tenant_unavailable"))
    for path in (USERS, f"{AUTH}/me", f"{TENANTS}/{tenant.id}"):
        refused(await suite.client.get(path, headers=tenant.auth), *expected)
