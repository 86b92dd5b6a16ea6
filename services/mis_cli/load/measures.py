"""What was measured: latencies, errors, refusals for being too many, and isolation mistakes, by tenant."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from mis_tenancy.latency import bucket_of, quantile_ms

# So many mistakes are told with what was seen; of more than that the number is enough.
_TOLD: Final = 100


class Outcome(Enum):
    """How a request ended; one that was refused for being too many is no error."""

    SERVED = "served"
    LIMITED = "limited"
    FAILED = "failed"


@dataclass(slots=True)
class Tally:
    """Requests of one tenant or of one kind: how many, how long the served ones took, how many were not."""

    requests: int = 0
    errors: int = 0
    limited: int = 0
    latency: Counter[int] = field(default_factory=Counter)

    def add(self, outcome: Outcome, microseconds: int) -> None:
        """Count one request."""
        self.requests += 1
        if outcome is Outcome.SERVED:
            self.latency[bucket_of(microseconds)] += 1
        elif outcome is Outcome.LIMITED:
            self.limited += 1
        else:
            self.errors += 1

    @property
    def served(self) -> int:
        """How many were answered as they should be."""
        return self.requests - self.errors - self.limited

    def quantile(self, share: float) -> float | None:
        """Return the milliseconds that `share` of the served requests did not exceed, within 1/16."""
        return quantile_ms({str(bucket): count for bucket, count in self.latency.items()}, share)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A row, an id or an answer that a tenant should not have had."""

    tenant: str
    action: str
    seen: str


class Measures:
    """Everything measured; `begun` moments are seconds since the traffic began."""

    def __init__(self, slugs: Sequence[str]) -> None:
        self.by_tenant = {slug: Tally() for slug in slugs}
        self.by_action: dict[str, Tally] = defaultdict(Tally)
        self.by_second: Counter[int] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.mistakes: list[Mistake] = []
        self.mistakes_of: Counter[str] = Counter()
        self.rows_checked = 0
        self.foreign_asked = 0

    def add(
        self, slug: str, action: str, outcome: Outcome, *, ended: float, seconds: float, failure: str = ""
    ) -> None:
        """Count a request that ended `ended` seconds into the traffic and took `seconds`."""
        microseconds = round(seconds * 1e6)
        self.by_tenant[slug].add(outcome, microseconds)
        self.by_action[action].add(outcome, microseconds)
        if outcome is Outcome.SERVED:
            self.by_second[int(ended)] += 1
        elif outcome is Outcome.FAILED:
            self.failures[action, failure] += 1

    def mistaken(self, slug: str, action: str, seen: str) -> None:
        """Write an isolation mistake down."""
        self.mistakes_of[slug] += 1
        if len(self.mistakes) < _TOLD:
            self.mistakes.append(Mistake(slug, action, seen))

    @property
    def total(self) -> Tally:
        """All tenants' requests as one."""
        tallies = self.by_tenant.values()
        return Tally(
            sum(one.requests for one in tallies),
            sum(one.errors for one in tallies),
            sum(one.limited for one in tallies),
            sum((one.latency for one in tallies), Counter()),
        )


def jain(amounts: Iterable[float]) -> float | None:
    """Return Jain's index of fairness: 1 where all have the same, 1/n where one of n has everything.

    R. Jain, D. Chiu, W. Hawe: A Quantitative Measure of Fairness, DEC-TR-301, 1984.
    """
    given = list(amounts)
    squares = len(given) * sum(amount * amount for amount in given)
    return sum(given) ** 2 / squares if squares else None
