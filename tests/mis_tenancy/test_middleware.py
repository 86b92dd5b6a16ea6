import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Scope
from starlette.websockets import WebSocket

from mis_tenancy.errors import PermissionDenied
from mis_tenancy.http.route_table import templates_of
from mis_tenancy.identifiers import new_id
from mis_tenancy.metrics import Metrics
from mis_tenancy.middleware import TenantMiddleware, admission_of
from mis_tenancy.origins.sealing import Origin
from mis_tenancy.resolution import Resolver
from mis_tenancy.routes import suite_policy
from mis_tenancy.tenant import Tenant, TenantStatus
from mis_tenancy.tokens.verification import TokenVerifier
from mis_tenancy.tracing import Tracer
from tests.mis_tenancy import twins
from tests.mis_tenancy.twins import http_scope, tenant, token_of

ALPHA, BETA = tenant("alpha"), tenant("beta")


async def users(request: Request) -> Response:
    admission = admission_of(request.scope)
    return JSONResponse({"tenant": str(admission.tenant.id) if admission.tenant else None})


async def whoami(request: Request) -> Response:
    admission = admission_of(request.scope)
    sources = [source.kind.value for source in admission.sources]
    return JSONResponse({"tenant": admission.tenant and admission.tenant.slug, "sources": sources})


async def health(request: Request) -> Response:
    return PlainTextResponse("ok")


async def cached(request: Request) -> Response:
    headers = {"Cache-Control": "max-age=60", "Vary": "Accept, host", "X-Request-ID": "the-apps-own"}
    return PlainTextResponse("ok", headers=headers)


async def crash(request: Request) -> Response:
    raise RuntimeError("secret detail")


async def deny(request: Request) -> Response:
    raise PermissionDenied(required="users:write")


async def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        if "crash" in request.query_params:
            raise RuntimeError("in the middle")
        await asyncio.sleep(float(request.query_params.get("wait", "0")))
        yield b"last"

    return StreamingResponse(chunks())


async def later(request: Request) -> Response:
    def fail() -> None:
        raise RuntimeError("after the answer")

    return PlainTextResponse("done", background=BackgroundTask(fail))


async def slow(request: Request) -> Response:
    before = admission_of(request.scope).tenant
    await asyncio.sleep(random.random() / 100)  # no secret
    bound = structlog.contextvars.get_contextvars()
    after = admission_of(request.scope).tenant
    assert before is not None
    assert after is before
    assert bound["tenant_id"] == str(before.id)
    return PlainTextResponse(before.slug)


async def live(socket: WebSocket) -> None:
    admission = admission_of(socket.scope)
    assert admission.tenant is not None
    await socket.accept()
    await socket.send_text(admission.tenant.slug)
    if "crash" in socket.query_params:
        raise RuntimeError("in the middle")
    await socket.close()


ROUTES = [
    Route("/healthz", health),
    Route("/api/v1/users", users),
    Route("/api/v1/users/{id}", users),
    Route("/api/v1/users/x/cached", cached),
    Route("/api/v1/users/x/crash", crash),
    Route("/api/v1/users/x/deny", deny),
    Route("/api/v1/users/x/stream", stream),
    Route("/api/v1/users/x/later", later),
    Route("/api/v1/users/x/slow", slow),
    Route("/api/v1/auth/login", whoami, methods=["POST"]),
    Route("/api/v1/auth/me", whoami),
    Route("/api/v1/auth/password-policy", whoami),
    Route("/api/v1/tenants", whoami),
    Route("/api/v1/tenants/resolve", whoami),
    WebSocketRoute("/api/v1/users/x/live", live),
]


@dataclass
class House:
    """The middleware over a plain Starlette application, and its collaborators."""

    directory: twins.Directory = field(default_factory=lambda: twins.Directory([ALPHA, BETA]))
    feed: twins.Feed = field(default_factory=twins.Feed)
    limiter: twins.Limiter = field(default_factory=twins.Limiter)
    recorder: twins.Recorder = field(default_factory=twins.Recorder)
    metrics: Metrics = field(default_factory=lambda: Metrics("test", tenants=5))
    tracer: Tracer | None = None

    def __post_init__(self) -> None:
        settings = twins.settings()
        verifier = TokenVerifier(
            twins.key_ring(), issuer=twins.ISSUER, audience=twins.AUDIENCE, is_revoked=self.feed.is_revoked
        )
        middleware = Middleware(
            TenantMiddleware,
            resolver=Resolver(self.directory, settings),
            directory=self.directory,
            feed=self.feed,
            verifier=verifier,
            limiter=self.limiter,
            recorder=self.recorder,
            metrics=self.metrics,
            policy=suite_policy(),
            settings=settings,
            routes=lambda: templates_of(ROUTES),
            tracer=self.tracer,
        )
        self.app = Starlette(routes=ROUTES, middleware=[middleware])

    async def ask(
        self, path: str = "/api/v1/users", token: str | None = None, method: str = "GET", **headers: str
    ) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        transport = httpx.ASGITransport(self.app, client=("203.0.113.9", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, headers=sent)

    def metric(self, line: str) -> float:
        found = [row for row in self.metrics.render().decode().splitlines() if row.startswith(line)]
        return sum(float(row.rpartition(" ")[2]) for row in found)


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    # A logger used once keeps its processors; whoever composed a service before would keep the lines.
    monkeypatch.setattr("mis_tenancy.middleware._log", structlog.get_logger())
    return House()


def code(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["requestId"] == response.headers["x-request-id"]
    return str(problem["code"])


async def test_a_members_request_passes_with_its_limits_and_is_recorded(house: House) -> None:
    response = await house.ask("/api/v1/users/7", token_of(ALPHA), X_Request_ID="mine-1", User_Agent="curl")
    assert response.json() == {"tenant": str(ALPHA.id)}
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["vary"] == "Authorization, X-Tenant-ID, X-Tenant-Slug, Host"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["ratelimit-policy"] == '"burst";q=20;w=1, "daily";q=1000;w=86400'
    assert response.headers["x-ratelimit-remaining"] == "999"
    (record,) = house.recorder.admitted.values()
    assert (record.tenant_id, record.action, record.resource) == (
        ALPHA.id,
        "GET /api/v1/users/{id}",
        "/api/v1/users/7",
    )
    assert (record.actor_kind, record.request_id) == ("member", "mine-1")
    assert (record.origin, list(record.sources)) == (Origin("203.0.113.9", "curl"), ["token"])
    assert record.counted
    assert house.recorder.outcomes == [(200, "success")]


async def test_every_hint_that_agrees_is_named_in_the_record(house: House) -> None:
    """Catalogue 8."""
    url = f"http://alpha.mis.local/api/v1/users?tenant={ALPHA.id}"
    await house.ask(url, token_of(ALPHA), X_Tenant_ID=str(ALPHA.id), X_Tenant_Slug="ALPHA")
    (record,) = house.recorder.admitted.values()
    assert list(record.sources) == ["header_id", "header_slug", "subdomain", "query", "token"]


async def test_a_protected_route_without_a_token_asks_for_one_and_looks_nothing_up(house: House) -> None:
    """Catalogue 1."""
    response = await house.ask(X_Tenant_Slug="alpha")
    assert (response.status_code, code(response)) == (401, "authentication_required")
    assert response.headers["www-authenticate"] == "Bearer"
    assert house.directory.lookups == []
    assert not house.recorder.admitted
    assert not house.recorder.noted


async def test_a_stranger_at_no_route_gets_404_and_a_trick_path_never_its_target(house: House) -> None:
    """Catalogue 19, 22."""
    for path in ("/nope", "/healthz/../api/v1/users", "//api/v1/users", "/api/v1/users/"):
        assert code(await house.ask(f"http://service{path}")) in (
            "route_not_found",
            "authentication_required",
        )
    assert house.directory.lookups == []


async def test_a_mismatch_is_refused_counted_and_noted_as_a_security_event(
    house: House,
) -> None:
    """Catalogue 6."""
    bodies = set()
    for other in (str(BETA.id), str(new_id())):
        response = await house.ask(token=token_of(ALPHA), X_Tenant_ID=other, X_Request_ID="same")
        assert (response.status_code, code(response)) == (403, "tenant_mismatch")
        assert "ratelimit" in response.headers
        bodies.add(response.content)
    assert len(bodies) == 1
    kinds = [
        (record.kind, record.tenant_id, record.action, record.outcome) for record in house.recorder.noted[:2]
    ]
    assert kinds == [
        ("request", ALPHA.id, "GET /api/v1/users", "refused"),
        ("security", ALPHA.id, "tenant_mismatch", "refused"),
    ]
    assert house.recorder.noted[0].counted
    assert house.metric("mis_tenant_mismatches_total") == 2
    assert house.directory.lookups == ["id"] * 2


@pytest.mark.parametrize(
    ("status", "changes", "answer", "members"),
    [
        (
            TenantStatus.SUSPENDED,
            {"status_reason": "abuse"},
            (403, "tenant_suspended"),
            {"reason": "abuse", "since": "2026-01-01T00:00:00Z"},
        ),
        (
            TenantStatus.PENDING_DELETION,
            {"purge_at": ALPHA.status_since},
            (403, "tenant_pending_deletion"),
            {"purgeAt": "2026-01-01T00:00:00Z"},
        ),
        (TenantStatus.MAINTENANCE, {}, (503, "tenant_unavailable"), {}),
        (TenantStatus.PROVISIONING, {}, (503, "tenant_unavailable"), {}),
        (TenantStatus.PURGED, {}, (401, "token_revoked"), {}),
    ],
)
async def test_a_member_learns_why_his_tenant_is_closed(
    house: House,
    status: TenantStatus,
    changes: dict[str, Any],
    answer: tuple[int, str],
    members: dict[str, str],
) -> None:
    """Catalogue 4, 5."""
    house.directory.replace(ALPHA, status=status, **changes)
    response = await house.ask(token=token_of(ALPHA))
    assert (response.status_code, code(response)) == answer
    assert response.json() | members == response.json()
    assert ("retry-after" in response.headers) == (response.status_code == 503)
    assert len(house.recorder.noted) == (status is not TenantStatus.PURGED)


@pytest.mark.parametrize(
    ("status", "reason", "passes"),
    [
        (TenantStatus.PENDING_DELETION, None, True),
        (TenantStatus.SUSPENDED, "past_due", True),
        (TenantStatus.SUSPENDED, "abuse", False),
    ],
)
async def test_the_owner_of_an_ending_tenant_passes_with_his_restricted_token(
    house: House, status: TenantStatus, reason: str | None, passes: bool
) -> None:
    house.directory.replace(ALPHA, status=status, status_reason=reason)
    token = token_of(ALPHA, role="owner", scope="tenant:restore", restricted=True)
    assert (await house.ask("/api/v1/tenants", token)).status_code == (200 if passes else 403)
    assert (await house.ask("/api/v1/tenants", token_of(ALPHA, role="owner"))).status_code == 403


async def test_an_operator_reaches_tenant_data_only_by_acting_there(house: House) -> None:
    refused = await house.ask(token=token_of(None), X_Tenant_ID=str(ALPHA.id))
    assert (refused.status_code, code(refused)) == (403, "act_as_required")
    assert (await house.ask("/api/v1/tenants", token_of(None))).json() == {"tenant": None, "sources": []}
    house.directory.replace(ALPHA, status=TenantStatus.SUSPENDED)
    operator = str(new_id())
    acting = token_of(ALPHA, sub=operator, role="admin", act={"sub": operator})
    answer = await house.ask(token=acting)
    assert answer.status_code == 200
    assert "ratelimit" not in answer.headers
    assert house.limiter.counted == {}
    (record,) = house.recorder.admitted.values()
    assert (record.actor_kind, record.counted) == ("operator", False)


@pytest.mark.parametrize(("refused_by", "name"), [("burst", "rate_limited"), ("daily", "quota_exceeded")])
async def test_a_tenant_over_its_limit_gets_429_which_is_recorded_as_rejected(
    house: House, refused_by: str, name: str
) -> None:
    house.limiter.refused_by = refused_by
    response = await house.ask(token=token_of(ALPHA))
    assert (response.status_code, code(response)) == (429, name)
    assert response.json()["policy"] == refused_by
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["ratelimit"].startswith(f'"{refused_by}"')
    (record,) = house.recorder.noted
    assert (record.rejected, record.counted, record.status, record.outcome) == (True, False, 429, "refused")


async def test_a_spent_day_leaves_exempt_routes_open_and_hides_no_closed_tenant(
    house: House,
) -> None:
    house.limiter.refused_by = "daily"
    assert (await house.ask("/api/v1/auth/me", token_of(ALPHA))).status_code == 200
    house.directory.replace(ALPHA, status=TenantStatus.SUSPENDED)
    assert code(await house.ask(token=token_of(ALPHA))) == "tenant_suspended"
    house.limiter.refused_by = "burst"
    assert code(await house.ask(token=token_of(ALPHA))) == "rate_limited"


async def test_who_does_not_verify_is_held_to_his_address_and_touches_no_tenant(house: House) -> None:
    house.limiter.address_limit = 3
    forged = token_of(ALPHA)[:-4] + "AAAA"
    asked = [("/api/v1/users", forged), ("/api/v1/users", None), ("/nope", None), ("/api/v1/users", forged)]
    codes = [code(await house.ask(path, token)) for path, token in asked]
    assert codes == ["token_invalid", "authentication_required", "route_not_found", "rate_limited"]
    assert list(house.limiter.counted) == ["203.0.113.9"]
    assert not house.recorder.noted
    assert (await house.ask(token=token_of(ALPHA))).status_code == 200


async def test_open_routes_are_limited_by_address_before_anything_is_looked_up(house: House) -> None:
    house.limiter.address_limit = 0
    response = await house.ask("/api/v1/auth/password-policy", X_Tenant_Slug="alpha")
    assert (response.status_code, code(response)) == (429, "rate_limited")
    assert int(response.headers["retry-after"]) >= 1
    assert house.directory.lookups == []
    assert (await house.ask("/healthz")).status_code == 200


async def test_an_open_route_never_reads_a_bearer(house: House) -> None:
    """Catalogue 20."""
    for token in ("nonsense", token_of(BETA), token_of(ALPHA, iat=1, exp=2)):
        response = await house.ask("/api/v1/auth/login", token, "POST", X_Tenant_Slug="alpha")
        assert response.json() == {"tenant": "alpha", "sources": ["header_slug"]}
        assert response.headers["cache-control"] == "no-store"
    assert not house.recorder.admitted


async def test_an_open_route_passes_a_hidden_tenant_as_none_and_refuses_a_conflict(
    house: House,
) -> None:
    house.directory.replace(BETA, status=TenantStatus.SUSPENDED)
    for slug in ("beta", "nobody"):
        response = await house.ask("/api/v1/auth/login", method="POST", X_Tenant_Slug=slug)
        assert response.json()["tenant"] is None
    conflict = await house.ask(
        "http://alpha.mis.local/api/v1/auth/login?tenant=nobody", method="POST", X_Tenant_Slug="alpha"
    )
    assert (conflict.status_code, code(conflict)) == (400, "tenant_conflict")


async def test_a_route_that_describes_a_tenant_hides_unknown_and_closed_ones_alike(house: House) -> None:
    """Catalogue 3-5."""
    house.directory.replace(BETA, status=TenantStatus.PENDING_DELETION)
    path, bodies = "/api/v1/auth/password-policy", set()
    for slug in ("beta", "nobody"):
        response = await house.ask(path, X_Tenant_Slug=slug, X_Request_ID="same")
        assert (response.status_code, code(response)) == (404, "tenant_not_found")
        bodies.add(response.content)
    assert len(bodies) == 1
    assert code(await house.ask(path)) == "tenant_required"
    assert (await house.ask(path, X_Tenant_Slug="alpha")).json()["tenant"] == "alpha"


async def test_a_report_is_refused_nothing(house: House) -> None:
    response = await house.ask("/api/v1/tenants/resolve?tenant=", "nonsense", X_Tenant_ID="?")
    assert response.status_code == 200


async def test_a_malformed_host_is_400_also_on_an_open_path(house: House) -> None:
    """Catalogue 16."""
    for path, method in (("/api/v1/users", "GET"), ("/api/v1/auth/login", "POST")):
        response = await house.ask(path, token_of(ALPHA), method, Host="x/api/v1/auth/login?")
        assert (response.status_code, code(response)) == (400, "tenant_malformed")


async def test_a_revocation_that_confirming_brings_is_in_force_at_once(house: House) -> None:
    sid = new_id()
    token = token_of(ALPHA, sid=str(sid))
    assert (await house.ask(token=token)).status_code == 200
    house.feed.on_confirm = lambda: house.feed.revoked_sessions.add(sid)
    assert code(await house.ask(token=token)) == "token_revoked"


async def test_a_process_that_cannot_confirm_serves_probes_and_plain_open_routes_only(
    house: House,
) -> None:
    house.feed.is_confirmable = False
    response = await house.ask(token=token_of(ALPHA))
    assert (response.status_code, code(response)) == (503, "tenant_unavailable")
    assert (await house.ask("/healthz")).status_code == 200
    assert (await house.ask("/api/v1/auth/login", method="POST")).status_code == 200


async def test_a_full_spool_serves_nothing_that_it_could_not_record(house: House) -> None:
    house.recorder.is_full = True
    for headers in ({}, {"X_Tenant_ID": str(BETA.id)}):
        response = await house.ask("/api/v1/users/x/crash", token_of(ALPHA), **headers)
        assert (response.status_code, code(response)) == (503, "audit_unavailable")
    assert not house.recorder.admitted


async def test_an_outcome_that_the_disk_refuses_does_not_break_the_answer(house: House) -> None:
    finish = house.recorder.finish

    def full(*told: Any) -> None:
        house.recorder.is_full = True
        finish(*told)

    house.recorder.finish = full  # type: ignore[assignment, method-assign]  # the disk fills up
    assert (await house.ask(token=token_of(ALPHA))).status_code == 200


async def test_the_applications_own_cache_headers_stay_and_vary_is_merged(house: House) -> None:
    response = await house.ask("/api/v1/users/x/cached", token_of(ALPHA))
    assert response.headers["cache-control"] == "max-age=60"
    assert response.headers["vary"] == "Accept, Host, Authorization, X-Tenant-ID, X-Tenant-Slug"
    assert response.headers.get_list("x-request-id") == ["the-apps-own"]


async def test_an_exception_of_the_application_is_a_500_without_detail(house: House) -> None:
    """Catalogue 22, 28."""
    with structlog.testing.capture_logs() as logs:
        response = await house.ask("/api/v1/users/x/crash", token_of(ALPHA))
    assert (response.status_code, code(response)) == (500, "internal_error")
    assert "secret" not in response.text
    assert "ratelimit" in response.headers
    assert [line["event"] for line in logs] == ["request_failed", "request"]
    assert house.recorder.outcomes == [(500, "error")]
    assert (await house.ask(token=token_of(BETA))).json() == {"tenant": str(BETA.id)}


async def test_nothing_of_a_request_stays_in_the_log_context_after_it(house: House) -> None:
    """Catalogue 25, 28."""
    with structlog.contextvars.bound_contextvars(job="outer"):
        for path in ("/api/v1/users", "/api/v1/users/x/crash", "/nope"):
            await house.ask(path, token_of(ALPHA))
            assert structlog.contextvars.get_contextvars() == {"job": "outer"}


async def test_a_refusal_of_a_plain_application_is_rendered(house: House) -> None:
    response = await house.ask("/api/v1/users/x/deny", token_of(ALPHA))
    assert (response.status_code, code(response)) == (403, "permission_denied")
    assert house.recorder.outcomes == [(403, "refused")]


async def test_an_answer_that_breaks_off_is_recorded_as_an_error(house: House) -> None:
    sent: list[Message] = []
    await drive(house, "/api/v1/users/x/stream", sent, query=b"crash")
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert house.recorder.outcomes == [(500, "error")]


async def test_what_fails_after_the_answer_changes_nothing_about_it(house: House) -> None:
    assert (await house.ask("/api/v1/users/x/later", token_of(ALPHA))).text == "done"
    assert house.recorder.outcomes == [(200, "success")]


async def drive(
    house: House,
    path: str,
    sent: list[Message],
    *,
    query: bytes = b"",
    incoming: Callable[[], Message] | None = None,
    on_send: Callable[[Message], None] = lambda message: None,
    **scope: Any,
) -> None:
    """Run one request against the application by hand, as a server would."""
    waiting = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        if incoming is not None:
            return incoming()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        on_send(message)
        sent.append(message)

    token = token_of(ALPHA)
    base = http_scope(path, headers=[("Authorization", f"Bearer {token}")], query=query)
    await house.app(
        {**base, "http_version": "1.1", "scheme": "http", "server": ("service", 80), **scope}, receive, send
    )


async def test_the_outcome_is_written_before_the_last_byte_leaves(house: House) -> None:
    written: list[tuple[bool, int]] = []
    await drive(
        house,
        "/api/v1/users/x/stream",
        [],
        on_send=lambda message: written.append(
            (message.get("more_body", True), len(house.recorder.finished))
        ),
    )
    assert written == [(True, 0), (True, 0), (True, 0), (False, 1)]
    assert house.recorder.outcomes == [(200, "success")]


async def test_a_client_that_goes_away_during_the_answer_is_recorded(house: House) -> None:
    """Catalogue 26."""
    sent: list[Message] = []
    await drive(
        house, "/api/v1/users/x/stream", sent, query=b"wait=5", incoming=lambda: {"type": "http.disconnect"}
    )
    assert house.recorder.outcomes == [(200, "disconnected")]


async def test_a_connection_that_breaks_while_sending_is_recorded(house: House) -> None:
    """Catalogue 26."""

    def broken(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise OSError

    await drive(house, "/api/v1/users/x/stream", [], on_send=broken, asgi={"spec_version": "2.4"})
    assert house.recorder.outcomes == [(200, "disconnected")]


async def test_a_cancelled_request_is_recorded_and_stays_cancelled(house: House) -> None:
    """Catalogue 26."""
    task = asyncio.create_task(drive(house, "/api/v1/users/x/stream", [], query=b"wait=5"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert house.recorder.outcomes == [(200, "disconnected")]
    assert structlog.contextvars.get_contextvars() == {}


async def test_the_callers_scope_is_left_as_it_was(house: House) -> None:
    """Catalogue 25, 28."""
    state = {"lifespan": 1}
    scope: Scope = http_scope(
        "/api/v1/users/x/slow", headers=[("Authorization", f"Bearer {token_of(ALPHA)}")]
    )
    scope.update(state=state, root_path="")
    before = dict(scope)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        return

    await house.app(scope, receive, send)
    scope.pop("app")
    assert scope == before
    assert state == {"lifespan": 1}


async def test_a_thousand_interleaved_requests_of_many_tenants_never_mix() -> None:
    """Catalogue 25."""
    tenants = [tenant(f"tenant-{number}") for number in range(20)]
    house = House(directory=twins.Directory(tenants))
    tokens = {it.slug: token_of(it) for it in tenants}

    async def one(slug: str) -> bool:
        task = asyncio.create_task(house.ask("/api/v1/users/x/slow", tokens[slug]))
        if random.random() < 0.2:  # no secret
            await asyncio.sleep(random.random() / 100)
            task.cancel()
        try:
            return (await task).text == slug
        except asyncio.CancelledError:
            return True

    assert all(await asyncio.gather(*(one(it.slug) for it in tenants for _ in range(50))))
    assert len(house.recorder.outcomes) == len(house.recorder.admitted)


async def live_socket(
    house: House, incoming: list[Message], query: bytes = b"", **scope: Any
) -> list[Message]:
    """Open a WebSocket by hand and return what the application sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0) if incoming else {"type": "websocket.disconnect", "code": 1001}

    async def send(message: Message) -> None:
        sent.append(message)

    base = http_scope("/api/v1/users/x/live", query=query)
    base.pop("method")
    await house.app({**base, "type": "websocket", "subprotocols": [], **scope}, receive, send)
    return sent


def bearer(it: Tenant) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {token_of(it)}".encode())]


async def test_a_websocket_is_resolved_limited_and_recorded_like_a_request(house: House) -> None:
    """Catalogue 21."""
    sent = await live_socket(house, [{"type": "websocket.connect"}], headers=bearer(ALPHA))
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    names = [name for name, _ in sent[0]["headers"]]
    assert b"x-request-id" in names
    assert b"ratelimit" in names
    assert sent[1]["text"] == "alpha"
    (record,) = house.recorder.admitted.values()
    assert record.action == "WEBSOCKET /api/v1/users/x/live"
    assert house.recorder.outcomes == [(101, "success")]


async def test_a_websocket_without_a_token_is_refused_and_a_subprotocol_is_no_token(house: House) -> None:
    """Catalogue 21."""
    sent = await live_socket(house, [], subprotocols=["bearer", token_of(ALPHA)])
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]
    extensions: dict[str, dict[str, str]] = {"websocket.http.response": {}}
    sent = await live_socket(house, [], extensions=extensions)
    assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 401)
    assert json.loads(sent[1]["body"])["code"] == "authentication_required"


async def test_a_websocket_that_fails_is_closed_and_recorded_as_an_error(house: House) -> None:
    sent = await live_socket(house, [{"type": "websocket.connect"}], query=b"crash", headers=bearer(ALPHA))
    assert (sent[-1]["type"], sent[-1]["code"]) == ("websocket.close", 1011)
    assert house.recorder.outcomes == [(500, "error")]


async def test_requests_are_measured_and_logged_by_route_and_not_by_path(house: House) -> None:
    with structlog.testing.capture_logs() as logs:
        await house.ask("/api/v1/users/secret-id", token_of(ALPHA))
        await house.ask("/somewhere-else", token_of(ALPHA))
        await house.ask("/healthz")
    assert house.metric('mis_requests_total{method="GET",route="/api/v1/users/{id}"') == 1
    assert house.metric('mis_requests_total{method="GET",route="unmatched"') == 1
    assert house.metric("mis_tenant_requests_total") == 2
    assert "secret-id" not in house.metrics.render().decode()
    assert [(line["event"], line["route"], line["status"]) for line in logs] == [
        ("request", "/api/v1/users/{id}", 200),
        ("request", "unmatched", 404),
    ]
    assert logs[0]["tenant_id"] == str(ALPHA.id)
    assert logs[0]["outcome"] == "success"


def test_asking_for_an_admission_where_there_is_none_says_why() -> None:
    with pytest.raises(LookupError, match="TenantMiddleware is not installed"):
        admission_of(http_scope())


async def test_a_renamed_tenant_answers_to_its_new_name_only(house: House) -> None:
    """Catalogue 23."""
    renamed = house.directory.replace(ALPHA, slug="renamed", subdomain="renamed")
    house.directory.tenants.append(replace(BETA, id=new_id(), slug="alpha", subdomain="alpha"))
    token = token_of(renamed)
    assert (await house.ask(token=token, X_Tenant_Slug="renamed")).status_code == 200
    assert code(await house.ask(token=token, X_Tenant_Slug="alpha")) == "tenant_mismatch"
