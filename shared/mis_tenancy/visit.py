"""What the middleware holds about one request, and makes of it: the record and the answer's headers."""

from contextvars import Token
from functools import partial
from typing import Any, Final, Literal

from starlette.types import Scope

from mis_tenancy.errors import TenantMismatch
from mis_tenancy.gate import Findings
from mis_tenancy.http.exchange import Headers
from mis_tenancy.http.rate_headers import rate_limit_headers
from mis_tenancy.http.requests import client_address_of, header_values, request_id_of
from mis_tenancy.http.route_table import UNMATCHED
from mis_tenancy.origins.sealing import Origin
from mis_tenancy.records.record import AuditRecord
from mis_tenancy.routes import Access
from mis_tenancy.settings import TenancySettings
from mis_tenancy.tenant import SourceKind
from mis_tenancy.tracing import Attributes, RequestTrace, Span, Tracer

# Where an endpoint leaves the name of the feature it serves, in the request's state.
FEATURE: Final = "mis.feature"
_VARY: Final = ("Authorization", "X-Tenant-ID", "X-Tenant-Slug", "Host")
_VARY_BYTES: Final = ", ".join(_VARY).encode("ascii")


class Visit:
    """One request: where it goes, whence it comes, and the findings about it so far.

    `template` is its route's, None where the application has none. `record` is set once it is written down.
    `context` takes back what was bound for its log lines.
    """

    __slots__ = (
        "_state",
        "_tenant_text",
        "access",
        "address",
        "context",
        "findings",
        "method",
        "path",
        "record",
        "request_id",
        "template",
        "trace",
        "user_agent",
    )

    def __init__(
        self,
        scope: Scope,
        access: Access,
        template: str | None,
        settings: TenancySettings,
        tracer: Tracer | None = None,
    ) -> None:
        self.access = access
        self.template = template
        self.findings = Findings()
        self.record: AuditRecord | None = None
        self.context: dict[str, Token[Any]] = {}
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._tenant_text: str | None = None
        self.request_id = request_id_of(scope)
        self.address = client_address_of(scope, settings.trusted_proxies)
        self.method: str = scope.get("method", "WEBSOCKET")
        self.path: str = scope["path"]
        agents = header_values(scope, b"user-agent")
        self.user_agent = agents[0].decode("latin-1") if agents else None
        # Probes and scrapes are nobody's requests.
        begin = None if tracer is None or access is Access.EXEMPT else partial(self._span_by, tracer)
        self.trace = RequestTrace(scope, begin)

    @property
    def route(self) -> str:
        """The route's template, for labels."""
        return self.template or UNMATCHED

    @property
    def feature(self) -> str | None:
        """The plan's feature that the request has used, if its endpoint said so."""
        return self._state.get(FEATURE)

    @property
    def tenant_text(self) -> str | None:
        """The tenant's id as logs show it, spelled out once."""
        if self._tenant_text is None and self.findings.tenant is not None:
            self._tenant_text = str(self.findings.tenant.id)
        return self._tenant_text

    def described(
        self,
        *,
        kind: Literal["request", "security"] = "request",
        outcome: str | None = None,
        status: int | None = None,
        duration_us: int | None = None,
    ) -> AuditRecord:
        """Return the record of this request; its principal and tenant must be known."""
        principal, tenant, allowance = self.findings.principal, self.findings.tenant, self.findings.allowance
        if principal is None or tenant is None:
            raise ValueError("Only a request of a tenant's principal is recorded.")
        sources = [source.kind.value for source in self.findings.sources]
        if SourceKind.TOKEN.value not in sources:
            sources.append(SourceKind.TOKEN.value)
        is_request = kind == "request"
        return AuditRecord(
            tenant_id=tenant.id,
            kind=kind,
            action=f"{self.method} {self.route}" if is_request else TenantMismatch.code,
            actor=principal.id,
            actor_kind=principal.kind.value,
            resource=self.path,
            outcome=outcome,
            status=status,
            duration_us=duration_us,
            origin=Origin(self.address, self.user_agent),
            request_id=self.request_id,
            sources=sources,
            counted=is_request and allowance is not None and allowance.admitted,
            rejected=is_request and allowance is not None and not allowance.admitted,
        )

    def _span_by(self, tracer: Tracer, traceparent: str | None, tracestate: str | None) -> Span:
        attributes = {
            "http.request.method": self.method,
            "http.route": self.route,
            "mis.request_id": self.request_id,
        }
        return tracer.request(f"{self.method} {self.route}", traceparent, tracestate, attributes)

    def traced(self, status: int, outcome: str) -> Attributes:
        """Return what the request's span says of its end: no address, no path, nothing of a person."""
        said: dict[str, str | int] = {"http.response.status_code": status, "mis.outcome": outcome}
        tenant, principal = self.findings.tenant, self.findings.principal
        if tenant is not None:
            said |= {
                "mis.tenant.id": str(tenant.id),
                "mis.tenant.slug": tenant.slug,
                "mis.tenant.plan": tenant.plan,
                "mis.tenant.sources": ",".join(source.kind.value for source in self.findings.sources),
            }
        if principal is not None:
            said["mis.principal.kind"] = principal.kind.value
        return said

    def headers_of_answer(self, headers: Headers) -> Headers:
        """Return an answer's headers with the request's id, the limits, and what caches must know."""
        present = {name.lower() for name, _ in headers}
        if b"x-request-id" not in present:
            headers.append((b"x-request-id", self.request_id.encode("ascii")))
        if self.access is Access.EXEMPT:
            return headers
        if b"cache-control" not in present:
            headers.append((b"cache-control", b"no-store"))
        if self.access not in (Access.OPEN, Access.REPORT):
            headers = _varying(headers)
        if self.findings.allowance is not None:
            headers.extend(rate_limit_headers(self.findings.allowance))
        return headers


def _varying(headers: Headers) -> Headers:
    """Return `headers` with one `Vary` that names, besides the application's, what chooses the tenant."""
    given = [value.decode("latin-1") for name, value in headers if name.lower() == b"vary"]
    if not given:
        headers.append((b"vary", _VARY_BYTES))
        return headers
    names = {name.strip().lower(): name.strip() for value in given for name in value.split(",")}
    merged = names if "*" in names else names | {name.lower(): name for name in _VARY}
    rest = [(name, value) for name, value in headers if name.lower() != b"vary"]
    return [*rest, (b"vary", ", ".join(merged.values()).encode("latin-1"))]
