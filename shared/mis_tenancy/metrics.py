"""What operations watch, as Prometheus metrics in a registry of the service's own.

Every label is bounded: routes by their templates, methods by a list, tenants by a number (`tenant_metrics`).
A client can invent any number of paths, methods and tenants, and each new label value would cost memory for
ever.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mis_tenancy.tenant_metrics import OTHER, TenantMetrics

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class _Watched:
    """The children that requests of one kind are counted in."""

    requests: Counter
    seconds: Histogram


class Metrics:
    """The metrics of one service instance; `tenants` of them are told apart, the rest are `other`."""

    def __init__(self, service: str, tenants: int = 50) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("mis_requests", "Requests answered.", "route", "method", "status")
        self._seconds = Histogram(
            "mis_request_duration_seconds",
            "Time from a request's arrival to the last byte of its answer.",
            ["service", "route", "method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._of_tenants = TenantMetrics(service, tenants)
        self.registry.register(self._of_tenants)
        self._refusals = self._counter("mis_refusals", "Requests refused, by code.", "code")
        mismatches = self._counter(
            "mis_tenant_mismatches", "Tokens used against another tenant than their own."
        )
        self._replica_reads = self._counter(
            "mis_replica_reads", "Reads that a replica may answer, by who answered and why.", "outcome"
        )
        self._service = service
        self._mismatches = mismatches.labels(service)
        # Looking a label up costs more than counting, so the children are kept.
        self._watched: dict[tuple[str, str, str], _Watched] = {}

    def observe(
        self,
        route: str,
        method: str,
        status: int,
        seconds: float,
        tenant_id: UUID | None,
        feature: str | None = None,
    ) -> None:
        """Count an answered request; `route` is a template, never a path, `feature` one of the plan's."""
        key = (route, method if method in _METHODS else OTHER, f"{status // 100}xx")
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = _Watched(
                self._requests.labels(self._service, *key),
                self._seconds.labels(self._service, key[0], key[1]),
            )
        watched.requests.inc()
        watched.seconds.observe(seconds)
        if tenant_id is not None:
            self._of_tenants.observe(tenant_id, status, seconds, feature)

    def refused(self, code: str) -> None:
        """Count a refusal by its stable code."""
        self._refusals.labels(self._service, code).inc()
        if code == "tenant_mismatch":
            self._mismatches.inc()

    def replica_read(self, outcome: str) -> None:
        """Count a read that a replica may answer: by the `replica`, else why the primary had to."""
        self._replica_reads.labels(self._service, outcome).inc()

    def watch(
        self,
        *,
        local_decisions: Callable[[], float],
        audit_pending: Callable[[], float],
        feed_lag: Callable[[], float],
    ) -> None:
        """Show what limiter, recorder and feed count themselves; they are asked at each scrape."""
        self.registry.register(_LocalDecisions(self._service, local_decisions))
        pending = self._gauge("mis_audit_pending_records", "Records not in Postgres yet.")
        pending.set_function(audit_pending)
        lag = self._gauge("mis_revocation_feed_lag_seconds", "Age of what is known of revocations.")
        lag.set_function(feed_lag)

    def render(self) -> bytes:
        """Return the text exposition (version 0.0.4) for `/metrics`."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, ["service", *labels], registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, ["service"], registry=self.registry).labels(self._service)


class _LocalDecisions(Collector):
    """A counter that lives in the limiter."""

    def __init__(self, service: str, count: Callable[[], float]) -> None:
        self._service = service
        self._count = count

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "mis_limiter_local_decisions",
            "Decisions made without Redis.",
            labels=["service"],
        )
        family.add_metric([self._service], self._count())
        yield family
