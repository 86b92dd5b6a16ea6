"""What operations watch of the worker: how much waits, for how long, and what became of each run."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mis_jobs.repository import Standing

_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)


class JobMetrics:
    """The metrics of one worker; kinds are those it has handlers for, so their number is bounded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._runs = Counter(
            "mis_job_runs",
            "Runs of jobs, by what became of them.",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "mis_job_duration_seconds",
            "Time that a run of a job took.",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._jobs = Gauge("mis_jobs", "Jobs of all tenants, by state.", ["state"], registry=self.registry)
        self._oldest = Gauge(
            "mis_jobs_oldest_seconds", "How long the oldest due job has waited.", registry=self.registry
        )

    def ran(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a run that ended as `outcome`: done, retried, dead, buried, lost or returned."""
        self._runs.labels(kind, outcome).inc()
        self._seconds.labels(kind).observe(seconds)

    def stands(self, standing: Standing) -> None:
        """Show how the queue stands."""
        for state in ("due", "later", "running", "dead"):
            self._jobs.labels(state).set(getattr(standing, state))
        self._oldest.set(standing.oldest)

    def render(self) -> bytes:
        """Return the text exposition (version 0.0.4) for `/metrics`."""
        return generate_latest(self.registry)
