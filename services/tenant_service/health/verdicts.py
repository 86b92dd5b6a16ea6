"""What a probe says, and when a tenant's status follows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

# A tenant's API passes until both are reached: a few failures among few requests say little.
_FAILING_RATE: Final = 0.05
_TELLING_SAMPLES: Final = 20


class Verdict(StrEnum):
    """How well a tenant is, from best to worst."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


_ORDER: Final = list(Verdict)


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a probe; `detail` says why it failed."""

    passed: bool
    duration_ms: float
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Requests:
    """A tenant's newest requests: how many, how many failed on our side, their median duration."""

    samples: int = 0
    errors: int = 0
    response_us: int | None = None

    @property
    def error_rate(self) -> float | None:
        """The fraction that failed; None without samples."""
        return self.errors / self.samples if self.samples else None

    @property
    def are_failing(self) -> bool:
        """Whether so many fail that the API counts as broken for the tenant."""
        return self.samples >= _TELLING_SAMPLES and self.errors >= _FAILING_RATE * self.samples


@dataclass(frozen=True, slots=True)
class Before:
    """What the probe before it said, on which a status rests."""

    verdict: Verdict
    status: Verdict


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe: its checks by name (`database redis storage api`), their verdict, the settled status."""

    at: datetime
    checks: Mapping[str, Check]
    requests: Requests
    verdict: Verdict
    status: Verdict


def verdict_of(checks: Mapping[str, Check]) -> Verdict:
    """Return what the checks add up to.

    Without its rows or its files a tenant cannot work; without Redis it can, at limits that are less exact.
    """
    if not (checks["database"].passed and checks["storage"].passed):
        return Verdict.UNHEALTHY
    return Verdict.HEALTHY if all(check.passed for check in checks.values()) else Verdict.DEGRADED


def settle(status: Verdict, before: Verdict, now: Verdict) -> Verdict:
    """Return the status after the verdicts `before` and `now`, so that one odd probe changes nothing.

    It is the median of the three: it moves only when two verdicts in a row lie on the same side of it, and
    then only as far as both go.
    """
    return sorted((status, before, now), key=_ORDER.index)[1]
