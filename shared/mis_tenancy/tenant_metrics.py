"""What each tenant's requests come to, for the busiest tenants by their ids and for the rest together.

The label is the id: a slug can be renamed, which would end one series and begin another, and a name is the
customer's own business. The worker's `mis_tenant_info` leads from ids to slugs.

A tenant that loses its place (`busiest.py`) takes its counts along, and one that gets a place begins at
nothing: were either added to `other`, its rate would leap.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate
from time import monotonic
from typing import Final
from uuid import UUID

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mis_tenancy.busiest import replaced

OTHER: Final = "other"
_BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_LABELS: Final = ["service", "tenant"]
# Seconds after which it is looked who is busy; what was before counts half as much each time.
_TURN: Final = 60.0
_TOO_MANY_REQUESTS: Final = 429


class _Counts:
    """The counts of one label; plain numbers, because they cost a request less than a client library's."""

    __slots__ = ("busy", "features", "latency", "recent", "rejected", "seconds", "statuses")

    def __init__(self, busy: float = 0.0) -> None:
        self.busy = busy
        self.recent = 0
        self.rejected = 0
        self.seconds = 0.0
        self.latency = [0] * (len(_BOUNDS) + 1)
        self.statuses: Counter[str] = Counter()
        self.features: Counter[str] = Counter()

    def add(self, status: int, seconds: float, feature: str | None) -> None:
        self.recent += 1
        self.statuses[f"{status // 100}xx"] += 1
        self.latency[bisect_left(_BOUNDS, seconds)] += 1
        self.seconds += seconds
        if status == _TOO_MANY_REQUESTS:
            self.rejected += 1
        if feature is not None:
            self.features[feature] += 1


class TenantMetrics(Collector):
    """The requests of one service process by tenant: at most `capacity` by their ids, the rest as `other`."""

    def __init__(self, service: str, capacity: int, clock: Callable[[], float] = monotonic) -> None:
        self._service = service
        self._capacity = capacity
        self._clock = clock
        self._other = _Counts()
        self._named: dict[UUID, _Counts] = {}
        # How often each of the others came since the last turn.
        self._unnamed: Counter[UUID] = Counter()
        self._next_turn = clock() + _TURN

    def observe(self, tenant_id: UUID, status: int, seconds: float, feature: str | None) -> None:
        """Count an answered request of the tenant; `feature` is that of the plan which it used."""
        if self._clock() >= self._next_turn:
            self._turn()
        counts = self._named.get(tenant_id)
        if counts is None:
            counts = self._counts_of_newcomer(tenant_id)
        counts.add(status, seconds, feature)

    def collect(self) -> Iterator[Metric]:
        """Yield the families that a scrape shows."""
        requests = CounterMetricFamily("mis_tenant_requests", "Requests.", labels=[*_LABELS, "status"])
        rejected = CounterMetricFamily("mis_tenant_rejections", "Requests over a limit.", labels=_LABELS)
        features = CounterMetricFamily(
            "mis_tenant_feature_uses", "Requests that used a feature.", labels=[*_LABELS, "feature"]
        )
        latency = HistogramMetricFamily(
            "mis_tenant_request_duration_seconds", "Time to the answer's last byte.", labels=_LABELS
        )
        for tenant, counts in [*self._named.items(), (OTHER, self._other)]:
            labels = [self._service, str(tenant)]
            for status, count in counts.statuses.items():
                requests.add_metric([*labels, status], count)
            for feature, count in counts.features.items():
                features.add_metric([*labels, feature], count)
            rejected.add_metric(labels, counts.rejected)
            latency.add_metric(labels, _buckets(counts.latency), counts.seconds)
        yield from (requests, rejected, features, latency)

    def _counts_of_newcomer(self, tenant_id: UUID) -> _Counts:
        if len(self._named) < self._capacity:
            counts = self._named[tenant_id] = _Counts()
            return counts
        self._unnamed[tenant_id] += 1
        return self._other

    def _turn(self) -> None:
        """Give the places to those who have been busy of late."""
        self._next_turn = self._clock() + _TURN
        for counts in self._named.values():
            counts.busy = (counts.busy + counts.recent) / 2
            counts.recent = 0
        busy = {tenant_id: counts.busy for tenant_id, counts in self._named.items()}
        others = {tenant_id: count / 2 for tenant_id, count in self._unnamed.items()}
        lost, taken = replaced(busy, others, self._capacity)
        for tenant_id in lost:
            del self._named[tenant_id]
        for tenant_id in taken:
            self._named[tenant_id] = _Counts(others[tenant_id])
        self._unnamed.clear()


def _buckets(latency: list[int]) -> list[tuple[str, float]]:
    """Return counts as Prometheus has them: of all that took no longer than each bound."""
    bounds = [*(str(bound) for bound in _BOUNDS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(latency)), strict=True))
