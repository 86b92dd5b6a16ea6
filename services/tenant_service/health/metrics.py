"""What operations watch of probes: how many checks pass in tenants' own contexts, and how long they take."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from tenant_service.health.verdicts import Probe

_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)


class ProbeMetrics:
    """The metrics of one worker's rounds; they count over all tenants, so no tenant has a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._checks = Counter(
            "mis_tenant_probes",
            "Checks of tenants by the worker's rounds.",
            ["check", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "mis_tenant_probe_duration_seconds",
            "Time that a check took.",
            ["check"],
            buckets=_SECONDS,
            registry=registry,
        )

    def probed(self, probe: Probe) -> None:
        """Count a probe's checks."""
        for name, check in probe.checks.items():
            self._checks.labels(name, "passed" if check.passed else "failed").inc()
            self._seconds.labels(name).observe(check.duration_ms / 1000)
