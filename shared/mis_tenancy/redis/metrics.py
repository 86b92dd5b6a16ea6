"""What is shown of Redis' servers: how many answer, and how often one sends a command on to another."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mis_tenancy.redis.client import Redis


class RedisMetrics(Collector):
    """Asks the client at each scrape; a cluster that nothing is known of yet has no nodes."""

    def __init__(self, service: str, redis: Redis) -> None:
        self._service = service
        self._redis = redis

    def collect(self) -> Iterator[Metric]:
        """Return the samples (the registry's call)."""
        nodes = GaugeMetricFamily("mis_redis_nodes", "Servers that keys are on.", labels=["service", "state"])
        answering = sum(self._redis.nodes.values())
        nodes.add_metric([self._service, "answering"], answering)
        nodes.add_metric([self._service, "away"], len(self._redis.nodes) - answering)
        yield nodes
        redirections = CounterMetricFamily(
            "mis_redis_redirections", "Commands that a node has sent on to another.", labels=["service"]
        )
        redirections.add_metric([self._service], self._redis.redirections)
        yield redirections
