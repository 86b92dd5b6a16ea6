"""What each route asks of its caller before anything else, and which routes a spent day does not close.

The suite's own table is here as data (`SUITE`), because the promise "an expired bearer never blocks its own
renewal" is a list of paths. A path that no rule knows gets the strictest access, so that a forgotten route
is a closed one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from starlette.types import Scope

from mis_tenancy.http.route_table import ANY_METHOD, PathTable, route_path


class Access(Enum):
    """What a route asks of its caller."""

    EXEMPT = "exempt"
    """Nothing is read, limited or recorded: probes and documentation."""
    REPORT = "report"
    """Nothing is refused but too many requests, because the endpoint reports what would have been refused."""
    OPEN = "open"
    """`Authorization` is never read, a tenant is optional; limited by address. A session shows strangers the
    rows of whichever tenant they name."""
    PUBLIC_TENANT = "public_tenant"
    """As OPEN, and a tenant that strangers may know of is needed."""
    MEMBER = "member"
    """A principal of a tenant is needed."""
    OPERATOR_OR_MEMBER = "operator_or_member"
    """As MEMBER, and operators of the platform come in without a tenant."""
    PERSON = "person"
    """As OPERATOR_OR_MEMBER, but no program: an API key has neither password, sessions nor factors."""

    @property
    def takes_operators(self) -> bool:
        """Whether an operator of the platform comes in without a tenant."""
        return self in (Access.OPERATOR_OR_MEMBER, Access.PERSON)

    @property
    def is_for_strangers(self) -> bool:
        """Whether `Authorization` is never read."""
        return self in _FOR_STRANGERS


_FOR_STRANGERS: Final = frozenset({Access.REPORT, Access.OPEN, Access.PUBLIC_TENANT})


@dataclass(frozen=True, slots=True)
class Rule:
    """The access of the routes that `pattern` covers (`*` one segment, `**` the rest), by method."""

    pattern: str
    access: Access
    method: str = ANY_METHOD


class RoutePolicy:
    """The rules of an application; `default` holds where none matches, also for every path that plays tricks.

    `daily_exempt` are the patterns of routes that stay open when the tenant's day is spent.
    """

    def __init__(
        self, rules: Iterable[Rule], *, default: Access = Access.MEMBER, daily_exempt: Iterable[str] = ()
    ) -> None:
        self._rules: PathTable[Access] = PathTable()
        self._daily_exempt: PathTable[bool] = PathTable()
        self._default = default
        for rule in rules:
            self._rules.add(rule.pattern, rule.access, rule.method)
        for pattern in daily_exempt:
            self._daily_exempt.add(pattern, True)

    def access(self, scope: Scope) -> Access:
        """Return the access of the request's route."""
        method = scope.get("method", "WEBSOCKET")
        return self._rules.find(route_path(scope), "GET" if method == "HEAD" else method) or self._default

    def is_daily_exempt(self, scope: Scope) -> bool:
        """Return whether the request passes a spent day, under the burst limit."""
        return self._daily_exempt.find(route_path(scope)) is True


PROBES: Final = tuple(
    Rule(path, Access.EXEMPT) for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json")
)

_AUTH: Final = "/api/v1/auth"
_TENANTS: Final = "/api/v1/tenants"

SUITE: Final = (
    *PROBES,
    # What the page at /docs is made of.
    Rule("/docs/**", Access.EXEMPT),
    Rule(f"{_TENANTS}/resolve", Access.REPORT, "GET"),
    # Who verifies a deletion certificate has no tenant any more.
    Rule(f"{_TENANTS}/deletion-certificates/jwks.json", Access.OPEN, "GET"),
    Rule(f"{_AUTH}/login", Access.OPEN, "POST"),
    Rule(f"{_AUTH}/operator/login", Access.OPEN, "POST"),
    Rule(f"{_AUTH}/operator/mfa/totp/verify", Access.OPEN, "POST"),
    Rule(f"{_AUTH}/refresh", Access.OPEN, "POST"),
    # Logout reads its bearer itself, because an expired one is good enough for it.
    Rule(f"{_AUTH}/logout", Access.OPEN, "POST"),
    Rule(f"{_AUTH}/password/forgot", Access.OPEN, "POST"),
    Rule(f"{_AUTH}/password/reset", Access.OPEN, "POST"),
    Rule(f"{_AUTH}/invitations/accept", Access.OPEN, "POST"),
    Rule(f"{_AUTH}/email/confirm", Access.OPEN),
    Rule(f"{_AUTH}/mfa/totp/verify", Access.OPEN, "POST"),
    Rule(f"{_AUTH}/passkeys/login/options", Access.PUBLIC_TENANT, "POST"),
    Rule(f"{_AUTH}/passkeys/login/verify", Access.OPEN, "POST"),
    Rule(f"{_AUTH}/sso/**", Access.OPEN),
    # Pages that mailed links lead to, whose token names the tenant.
    Rule("/login/**", Access.OPEN),
    # To strangers a tenant that is closed to them has no sign-in page, just as if there were no such tenant.
    Rule("/login", Access.PUBLIC_TENANT, "GET"),
    Rule("/login", Access.PUBLIC_TENANT, "POST"),
    Rule("/login/sign-out", Access.PUBLIC_TENANT, "POST"),
    Rule("/login/session", Access.PUBLIC_TENANT, "GET"),
    Rule("/login/token", Access.PUBLIC_TENANT, "POST"),
    Rule("/login/sso/start", Access.PUBLIC_TENANT, "GET"),
    Rule("/login/sso/callback", Access.PUBLIC_TENANT, "GET"),
    Rule("/login/second-step", Access.PUBLIC_TENANT, "POST"),
    Rule("/login/passkey", Access.PUBLIC_TENANT, "POST"),
    Rule("/login/passkeys/**", Access.PUBLIC_TENANT, "POST"),
    Rule("/login/forgot", Access.PUBLIC_TENANT, "GET"),
    Rule("/login/forgot", Access.PUBLIC_TENANT, "POST"),
    Rule("/.well-known/**", Access.OPEN, "GET"),
    Rule("/api/v1/plans", Access.OPEN, "GET"),
    Rule("/api/v1/plans/*", Access.OPEN, "GET"),
    Rule(f"{_AUTH}/password-policy", Access.PUBLIC_TENANT, "GET"),
    Rule(f"{_TENANTS}/branding", Access.PUBLIC_TENANT, "GET"),
    Rule(f"{_TENANTS}/branding/logo", Access.PUBLIC_TENANT, "GET"),
    # These links are their own proof: signed, and naming the tenant with what they lead to.
    Rule(f"{_TENANTS}/*/exports/*/file", Access.OPEN, "GET"),
    Rule("/api/v1/media/*/*/file", Access.OPEN, "GET"),
    Rule(f"{_TENANTS}/domains/ask", Access.OPEN, "GET"),
    # Whom a tenant invites is the tenant's; an operator acts as one of its own to see or do that.
    Rule(f"{_AUTH}/invitations/**", Access.MEMBER),
    Rule(f"{_AUTH}/api-keys/**", Access.MEMBER),
    Rule(f"{_AUTH}/permissions", Access.OPERATOR_OR_MEMBER),
    # What else there is concerns the sign-in of the person who asks.
    Rule(f"{_AUTH}/**", Access.PERSON),
    Rule(f"{_TENANTS}/**", Access.OPERATOR_OR_MEMBER),
    Rule("/api/v1/plans/**", Access.OPERATOR_OR_MEMBER),
)

# Who is out of quota can still sign in, see, pay, export and upgrade.
DAILY_EXEMPT: Final = (
    f"{_AUTH}/**",
    f"{_TENANTS}/*/usage",
    f"{_TENANTS}/*/billing/**",
    f"{_TENANTS}/*/invoices/**",
    f"{_TENANTS}/*/migrate",
    f"{_TENANTS}/*/migrations/**",
    f"{_TENANTS}/*/export",
    f"{_TENANTS}/*/exports/**",
)


def suite_policy() -> RoutePolicy:
    """Return the policy of the suite's three services."""
    return RoutePolicy(SUITE, daily_exempt=DAILY_EXEMPT)
