"""What tenants hold, as gauges: the busiest by their ids, the rest together as `other`."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mis_tenancy.tenant_metrics import OTHER
from mis_worker.tenant_levels.repository import Standing

_NOTHING: Final = Standing({}, {}, 0, 0, ())


class LevelMetrics(Collector):
    """The levels as they were found last; none where they cannot be told, because old ones would mislead."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._standing: Standing | None = None
        registry.register(self)

    def show(self, standing: Standing | None) -> None:
        """Show these levels from now on."""
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        """Yield the families that a scrape shows."""
        standing = self._standing or _NOTHING
        yield _grouped("mis_tenants", "Tenants.", ["plan", "status"], standing.tenants)
        yield _grouped(
            "mis_alerts_open", "Alerts that have not ended.", ["kind", "severity"], standing.alerts
        )
        yield from self._named(standing)

    def _named(self, standing: Standing) -> Iterator[Metric]:
        info = _of_tenant("mis_tenant_info", "What an id stands for; always 1.", "slug", "plan", "status")
        users = _of_tenant("mis_tenant_users", "Users.")
        users_limit = _of_tenant("mis_tenant_users_limit", "Users that the tenant may have.")
        stored = _of_tenant("mis_tenant_storage_bytes", "Bytes stored.")
        stored_limit = _of_tenant("mis_tenant_storage_limit_bytes", "Bytes that the tenant may store.")
        checks = _of_tenant("mis_tenant_check_passed", "Whether the newest probe's check passed.", "check")
        for level in standing.named:
            tenant = str(level.id)
            info.add_metric([tenant, level.slug, level.plan, level.status], 1)
            users.add_metric([tenant], level.users)
            stored.add_metric([tenant], level.storage_bytes)
            for family, limit in (
                (users_limit, level.users_limit),
                (stored_limit, level.storage_limit_bytes),
            ):
                if limit is not None:
                    family.add_metric([tenant], limit)
            for check, passed in level.checks.items():
                checks.add_metric([tenant, check], passed)
        if self._standing is not None:
            users.add_metric([OTHER], standing.users - sum(one.users for one in standing.named))
            others_bytes = standing.storage_bytes - sum(one.storage_bytes for one in standing.named)
            stored.add_metric([OTHER], others_bytes)
        yield from (info, users, users_limit, stored, stored_limit, checks)


def _of_tenant(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["tenant", *labels])


def _grouped(
    name: str, text: str, labels: list[str], counts: Mapping[tuple[str, str], int]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for group, count in counts.items():
        family.add_metric(group, count)
    return family
