"""The way every request walks: resolve, validate, limit, audit, and only then the application.

Pure ASGI, because `BaseHTTPMiddleware` breaks context variables; it renders its own refusals, because an
exception raised here never reaches an application's handlers. Nothing about a request is kept on the
middleware itself.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol
from uuid import UUID

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from mis_tenancy.error_responses import error_response
from mis_tenancy.errors import (
    AuditUnavailable,
    AuthenticationRequired,
    InternalError,
    ProblemError,
    QuotaExceeded,
    RateLimited,
    RouteNotFound,
    TenantMismatch,
)
from mis_tenancy.gate import Feed, Gate
from mis_tenancy.http.exchange import DISCONNECTED, ERROR, REFUSED, Exchange
from mis_tenancy.http.requests import network_of
from mis_tenancy.http.route_table import UNMATCHED, Templates
from mis_tenancy.metrics import Metrics
from mis_tenancy.records.record import AuditRecord
from mis_tenancy.resolution import Directory, Resolver
from mis_tenancy.routes import Access, RoutePolicy
from mis_tenancy.settings import TenancySettings
from mis_tenancy.tenant import Admission, Allowance, Tenant
from mis_tenancy.tokens.verification import TokenVerifier
from mis_tenancy.tracing import Tracer
from mis_tenancy.visit import Visit

ADMISSION: Final = "mis.admission"
HTTP_LIKE: Final = frozenset({"http", "websocket"})
_VARY: Final = ("Authorization", "X-Tenant-ID", "X-Tenant-Slug", "Host")

_log = structlog.get_logger(__name__)


class Limiter(Protocol):
    """What decides how many requests are too many; it never raises."""

    async def admit(self, tenant: Tenant, *, daily_exempt: bool) -> Allowance:
        """Count a request of the tenant, or refuse it and count nothing."""
        ...

    async def admit_address(self, network: str, per_second: int) -> Allowance:
        """Count an anonymous request of an address, or refuse it."""
        ...


class Recorder(Protocol):
    """What writes requests down; each method raises AuditUnavailable where it cannot."""

    def admit(self, record: AuditRecord) -> None:
        """Write down a request before it runs."""
        ...

    def finish(
        self,
        identifier: UUID,
        status: int | None,
        outcome: str,
        duration_us: int,
        feature: str | None = None,
    ) -> None:
        """Write down how it ended."""
        ...

    def note(self, record: AuditRecord) -> None:
        """Write down what is complete already."""
        ...


def admission_of(scope: Scope) -> Admission:
    """Return what the middleware established about the request; raise LookupError where it did not see it."""
    try:
        admission: Admission = scope["state"][ADMISSION]
    except KeyError as error:
        raise LookupError(
            "No admission: this path is exempt, or TenantMiddleware is not installed."
        ) from error
    return admission


class TenantMiddleware:
    """Lets requests into `app` whose tenant is established, in service and within its limits; records them.

    `policy` says what each route asks. `routes` yields the templates of the application's routes, asked
    once, at the first request: they name requests in records, metrics and logs, and a stranger at a path
    without a route gets 404 instead of 401.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        resolver: Resolver,
        directory: Directory,
        feed: Feed,
        verifier: TokenVerifier,
        limiter: Limiter,
        recorder: Recorder,
        metrics: Metrics,
        policy: RoutePolicy,
        settings: TenancySettings,
        routes: Callable[[], Iterable[str]] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.app = app
        self._gate = Gate(resolver=resolver, directory=directory, feed=feed, verifier=verifier)
        self._limiter = limiter
        self._recorder = recorder
        self._metrics = metrics
        self._policy = policy
        self._settings = settings
        self._routes = routes
        self._tracer = tracer
        self._templates: Templates | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whatever becomes of it."""
        if scope["type"] not in HTTP_LIKE:
            await self.app(scope, receive, send)
            return
        # The caller's scope stays as it was found: what is established here belongs to this request alone.
        scope = {**scope, "state": {**scope.get("state", {})}}
        access, template = self._policy.access(scope), self._template_of(scope)
        visit = Visit(scope, access, template, self._settings, self._tracer)
        exchange = Exchange(receive, send, visit.headers_of_answer, partial(self._conclude, visit))
        visit.context.update(bind_contextvars(request_id=visit.request_id))
        if visit.trace.id is not None:
            visit.context.update(bind_contextvars(trace_id=visit.trace.id))
        try:
            await self._serve(scope, visit, exchange)
        except asyncio.CancelledError:
            exchange.end(DISCONNECTED)
            raise
        finally:
            exchange.end(ERROR)
            reset_contextvars(**visit.context)
            visit.trace.leave()

    async def _serve(self, scope: Scope, visit: Visit, exchange: Exchange) -> None:
        try:
            await self._admit(scope, visit)
            visit.context.update(bind_contextvars(tenant_id=visit.tenant_text))
            await self.app(scope, exchange.receive, exchange.send)
        except ProblemError as problem:
            await self._answer(scope, visit, exchange, problem)
        except Exception:
            if not exchange.is_disconnected:
                _log.exception("request_failed", route=visit.route)
            await self._answer(scope, visit, exchange, InternalError())

    async def _admit(self, scope: Scope, visit: Visit) -> None:
        """Resolve, validate, limit and record the request; raise the refusal that applies first."""
        if visit.access is Access.EXEMPT:
            return
        if visit.access.is_for_strangers:
            await self._limit_address(visit)
            if visit.access is not Access.REPORT:
                await self._gate.admit_stranger(scope, visit.access, visit.findings)
        else:
            await self._admit_principal(scope, visit)
        findings = visit.findings
        scope["state"][ADMISSION] = Admission(
            request_id=visit.request_id,
            client_address=visit.address,
            sources=findings.sources,
            tenant=findings.tenant,
            principal=findings.principal,
            allowance=findings.allowance,
        )
        if findings.is_of_tenant:
            record = visit.described()
            self._recorder.admit(record)
            visit.record = record

    async def _admit_principal(self, scope: Scope, visit: Visit) -> None:
        try:
            await self._gate.identify(scope, visit.access, visit.findings)
        except ProblemError as refusal:
            # Whoever is not known is held to the limit of his address, also while he is refused.
            if visit.findings.principal is None:
                await self._limit_address(visit)
            if isinstance(refusal, AuthenticationRequired) and visit.template is None:
                raise RouteNotFound from refusal
            raise
        try:
            await self._gate.validate(visit.findings)
        except ProblemError:
            # A spent day does not hide why the tenant is closed; a flood of refused requests is still a
            # flood.
            await self._limit_tenant(visit, daily_exempt=True)
            raise
        await self._limit_tenant(visit, daily_exempt=self._policy.is_daily_exempt(scope))
        self._gate.require_kind(visit.access, visit.findings)

    async def _limit_address(self, visit: Visit) -> None:
        network = network_of(visit.address)
        allowance = await self._limiter.admit_address(network, self._settings.anonymous_per_second)
        if not allowance.admitted:
            visit.findings.allowance = allowance
            raise RateLimited(policy="burst")

    async def _limit_tenant(self, visit: Visit, *, daily_exempt: bool) -> None:
        findings = visit.findings
        if findings.tenant is None or findings.is_operators:
            return
        allowance = findings.allowance = await self._limiter.admit(findings.tenant, daily_exempt=daily_exempt)
        if not allowance.admitted:
            refusal = QuotaExceeded if allowance.refused_by == "daily" else RateLimited
            raise refusal(policy=allowance.refused_by)

    async def _answer(self, scope: Scope, visit: Visit, exchange: Exchange, problem: ProblemError) -> None:
        """Answer with `problem`, as far as anything can still be said."""
        if exchange.is_disconnected or exchange.is_started:
            await exchange.abort(scope)
            return
        if visit.record is None and visit.findings.is_of_tenant:
            problem = self._noted(visit, exchange, problem)
        self._metrics.refused(problem.code)
        # A client that has gone away in the meantime is nobody's error.
        with suppress(OSError):
            await error_response(problem)(scope, exchange.receive, exchange.send)

    def _noted(self, visit: Visit, exchange: Exchange, problem: ProblemError) -> ProblemError:
        """Record a refusal and return it, or return the one that says why it could not be recorded."""
        duration = exchange.duration_us
        try:
            self._recorder.note(visit.described(outcome=REFUSED, status=problem.status, duration_us=duration))
            if isinstance(problem, TenantMismatch):
                self._recorder.note(visit.described(kind="security", outcome=REFUSED, status=problem.status))
        except AuditUnavailable as full:
            return full
        return problem

    def _conclude(self, visit: Visit, status: int, outcome: str, duration_us: int) -> None:
        findings, record = visit.findings, visit.record
        if record is not None:
            try:
                self._recorder.finish(record.id, status, outcome, duration_us, visit.feature)
            except AuditUnavailable:
                # The admission is on the disk, and the recorder keeps the outcome until the disk takes it.
                _log.warning("audit_outcome_delayed")
        of_tenant = findings.tenant if findings.is_of_tenant and not findings.is_operators else None
        self._metrics.observe(
            visit.route,
            visit.method,
            status,
            duration_us / 1e6,
            None if of_tenant is None else of_tenant.id,
            visit.feature,
        )
        if visit.trace.has_span:
            visit.trace.end(visit.traced(status, outcome), failed=status >= 500)
        if visit.access is not Access.EXEMPT:
            _log.info(
                "request",
                service=self._settings.service,
                tenant_id=visit.tenant_text,
                method=visit.method,
                route=visit.route,
                status=status,
                outcome=outcome,
                duration_ms=round(duration_us / 1e3, 2),
            )

    def _template_of(self, scope: Scope) -> str | None:
        if self._routes is None:
            return UNMATCHED
        if self._templates is None:
            self._templates = Templates(self._routes())
        return self._templates.of(scope)
