import pytest
from starlette.routing import Mount, Route, WebSocketRoute

from mis_tenancy.http.route_table import PathTable, Templates, templates_of
from mis_tenancy.routes import Access, RoutePolicy, Rule, suite_policy
from tests.mis_tenancy.twins import http_scope

POLICY = suite_policy()


def access(path: str, method: str = "GET") -> Access:
    return POLICY.access(http_scope(path, method=method))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/auth/login"),
        ("POST", "/api/v1/auth/operator/login"),
        ("POST", "/api/v1/auth/refresh"),
        ("POST", "/api/v1/auth/logout"),
        ("POST", "/api/v1/auth/password/forgot"),
        ("POST", "/api/v1/auth/password/reset"),
        ("POST", "/api/v1/auth/invitations/accept"),
        ("POST", "/api/v1/auth/mfa/totp/verify"),
        ("GET", "/api/v1/auth/sso/callback"),
        ("GET", "/login/invitation"),
        ("GET", "/api/v1/plans"),
        ("HEAD", "/api/v1/plans/basic"),
        ("GET", "/.well-known/jwks.json"),
    ],
)
def test_routes_that_renew_or_need_no_token_never_read_one(method: str, path: str) -> None:
    assert access(path, method) is Access.OPEN


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"])
def test_probes_are_exempt(path: str) -> None:
    assert access(path) is Access.EXEMPT


def test_tenant_data_is_for_members_and_the_platforms_routes_for_operators_too() -> None:
    assert access("/api/v1/users") is access("/api/v1/media/1/content") is Access.MEMBER
    assert access("/api/v1/tenants/acme/usage") is Access.OPERATOR_OR_MEMBER
    assert access("/api/v1/auth/act-as", "POST") is access("/api/v1/auth/me") is Access.PERSON
    assert access("/api/v1/plans/basic", "PATCH") is Access.OPERATOR_OR_MEMBER


def test_what_describes_a_tenant_to_strangers_needs_a_tenant() -> None:
    assert (
        access("/api/v1/auth/password-policy") is access("/api/v1/tenants/branding") is Access.PUBLIC_TENANT
    )
    assert access("/api/v1/auth/passkeys/login/options", "POST") is Access.PUBLIC_TENANT
    assert access("/login") is access("/login/forgot", "POST") is Access.PUBLIC_TENANT
    assert access("/api/v1/tenants/resolve") is Access.REPORT


@pytest.mark.parametrize(
    "path",
    [
        "//healthz",
        "/healthz/",
        "/healthz/../api/v1/users",
        "//api/v1/auth/login",
        "/api/v1/auth/login/",
        "/api/v1/auth/../users",
        "/login/../api/v1/users",
        "/login/./x",
        "/login//x",
        "/login/%2e%2e/api/v1/users",
        "/login/..;/api/v1/users",
        "/login;x=/api/v1/users",
        "/login/..\\api\\v1\\users",
        "/login/a%2fb",
        "/login/\x00",
        "/login/.../x",
        "/API/V1/AUTH/LOGIN",
        "/api/v1/auth/login\n",
        "http://x/api/v1/auth/login",
        "login",
        "*",
        "",
        "/api/v1/plans/../users",
        "/.well-known/../api/v1/users",
    ],
)
def test_a_path_that_plays_tricks_is_as_closed_as_any_other(path: str) -> None:
    """Catalogue 19."""
    for method in ("GET", "POST"):
        assert access(path, method) in (Access.MEMBER, Access.OPERATOR_OR_MEMBER)


def test_an_application_below_a_prefix_decides_on_the_path_its_router_sees() -> None:
    assert POLICY.access({**http_scope("/inner/healthz"), "root_path": "/inner"}) is Access.EXEMPT
    assert POLICY.access({**http_scope("/innerhealthz"), "root_path": "/inner"}) is Access.MEMBER


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/auth/me",
        "/api/v1/tenants/acme/usage",
        "/api/v1/tenants/acme/billing/cancel",
        "/api/v1/tenants/acme/invoices",
        "/api/v1/tenants/acme/migrate",
        "/api/v1/tenants/acme/exports/1/download",
    ],
)
def test_a_spent_day_leaves_signing_in_seeing_paying_exporting_and_upgrading(path: str) -> None:
    assert POLICY.is_daily_exempt(http_scope(path))


@pytest.mark.parametrize(
    "path", ["/api/v1/users", "/api/v1/tenants/acme/config", "/api/v1/tenants/acme/usage/x"]
)
def test_a_spent_day_closes_the_rest(path: str) -> None:
    assert not POLICY.is_daily_exempt(http_scope(path))


def test_the_most_specific_pattern_wins_and_a_missing_method_falls_to_the_next() -> None:
    table: PathTable[str] = PathTable()
    for pattern, method in (("/a/**", "*"), ("/a/*", "*"), ("/a/b", "GET"), ("/a/*/c", "*")):
        table.add(pattern, pattern, method)
    found = [
        table.find(path, method)
        for path, method in (
            ("/a/b", "GET"),
            ("/a/b", "PUT"),
            ("/a/b/c", "GET"),
            ("/a/b/d", "GET"),
            ("/a", "GET"),
            ("/b", "GET"),
        )
    ]
    assert found == ["/a/b", "/a/*", "/a/*/c", "/a/**", "/a/**", None]


def test_a_rule_given_twice_is_a_mistake_that_shows_at_construction() -> None:
    with pytest.raises(ValueError, match="/a has two rules"):
        RoutePolicy([Rule("/a", Access.OPEN), Rule("/a", Access.MEMBER)])


async def _endpoint() -> None:
    """Stand in for a route's handler."""


ROUTES = [
    Route("/", _endpoint),
    Route("/users/{id}", _endpoint),
    Route("/users/{user_id:uuid}", _endpoint, methods=["DELETE"]),
    Route("/users/me", _endpoint),
    WebSocketRoute("/live", _endpoint),
    Mount("/files", routes=[Route("/{path:path}", _endpoint)]),
]


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/users/7", "/users/{id}"),
        ("/users/me", "/users/me"),
        ("/live", "/live"),
        ("/files/a/b", "/files/{path:path}"),
        ("/users", None),
        ("/users/", None),
        ("/users/7/x", None),
        ("/nope", None),
    ],
)
def test_a_path_is_named_by_the_template_of_its_route(path: str, template: str | None) -> None:
    assert Templates(templates_of(ROUTES)).of(http_scope(path)) == template
