"""Paired figures: a round runs every candidate once, in shuffled order; ratios are taken within rounds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.load import Measurement


@dataclass(frozen=True, slots=True)
class Run:
    """One candidate in one round; `cpu` is the server's user and system seconds."""

    measured: Measurement
    cpu: float

    @property
    def cpu_per_request(self) -> float:
        """Microseconds of the server's processor time a request."""
        return self.cpu / max(1, len(self.measured.latencies)) * 1e6


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def table(rounds: Mapping[str, Sequence[Run]], peer: str) -> list[str]:
    """Return the lines of the report; a ratio is requests per second against `peer` in the same round."""
    head = f"{'candidate':<34}{'req/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}   ratio to peer [IQR]"
    return [head, *(_line(name, runs, rounds[peer]) for name, runs in rounds.items())]


def _line(name: str, runs: Sequence[Run], peers: Sequence[Run]) -> str:
    def middle(values: list[float]) -> float:
        return statistics.median(values)

    ratios = [
        run.measured.per_second / other.measured.per_second for run, other in zip(runs, peers, strict=True)
    ]
    low, ratio, high = quartiles(ratios)
    bad = sum(run.measured.mistakes + run.measured.refused for run in runs)
    resolved = "" if ratio == 1 or not low <= 1 <= high else "  (not resolved)"
    return (
        f"{name:<34}{middle([run.measured.per_second for run in runs]):>8.0f}"
        f"{middle([run.measured.percentile(0.5) * 1e3 for run in runs]):>9.2f}"
        f"{middle([run.measured.percentile(0.99) * 1e3 for run in runs]):>9.2f}"
        f"{middle([run.cpu_per_request for run in runs]):>9.0f}"
        f"   {ratio:.2f} [{low:.2f}-{high:.2f}]{resolved}" + (f"  {bad} WRONG OR REFUSED" if bad else "")
    )
