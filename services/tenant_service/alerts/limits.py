"""When a tenant's limits are worth an alert: at 80, 90 and 100 %, each once in a UTC day.

Users and storage are levels: their alerts end when the tenant is below the threshold again, and one that has
not ended stands for the following days too. API requests are counted anew each day, and yesterday's alerts
end with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from mis_tenancy.plans import GIB
from tenant_service.alerts.causes import AlertKind, Cause, Changes, Known, Severity, changes

THRESHOLDS: Final[Mapping[int, Severity]] = {
    80: Severity.INFO,
    90: Severity.WARNING,
    100: Severity.CRITICAL,
}


class Measure(StrEnum):
    """What is limited."""

    USERS = "users"
    STORAGE = "storage"
    API_REQUESTS = "api_requests"


_ADVICE: Final = {
    Measure.USERS: "At 100 % nobody can be added. Remove users, or move to a larger plan.",
    Measure.STORAGE: "At 100 % nothing can be uploaded. Delete files, or move to a larger plan.",
    Measure.API_REQUESTS: "At 100 % requests are refused until midnight UTC. Move to a larger plan for more.",
}


@dataclass(frozen=True, slots=True)
class Level:
    """How much of a limit is used; None is unlimited."""

    measure: Measure
    used: int
    limit: int | None

    def reached(self) -> set[int]:
        """Return the thresholds that are reached; whoever uses nothing has reached none."""
        if self.limit is None or self.used <= 0:
            return set()
        return {threshold for threshold in THRESHOLDS if self.used * 100 >= threshold * self.limit}

    def cause(self, threshold: int, day: str) -> Cause:
        """Return the alert of a threshold that is reached on the UTC day `day` (ISO 8601)."""
        return Cause(
            kind=AlertKind.LIMIT,
            subject=self.measure.value,
            severity=THRESHOLDS[threshold],
            message=f"{threshold} % of the limit is reached: {self._amount()}. {_ADVICE[self.measure]}",
            threshold=threshold,
            period=day,
        )

    def _amount(self) -> str:
        limit = self.limit or 0
        if self.measure is Measure.STORAGE:
            return f"{self.used / GIB:,.1f} of {limit / GIB:,.1f} GiB are in use"
        if self.measure is Measure.USERS:
            return f"{self.used:,} of {limit:,} users, invitations included"
        return f"{self.used:,} of {limit:,} API requests of the day"


def limit_changes(levels: Sequence[Level], known: Sequence[Known], day: date) -> Changes:
    """Return what the levels of `day` change about the tenant's alerts of what they measure."""
    today, reached = day.isoformat(), {level.measure.value: level.reached() for level in levels}
    ending = [
        alert
        for alert in known
        if alert.kind is AlertKind.LIMIT
        and alert.subject in reached
        and not (alert.has_ended or _goes_on(alert, reached, today))
    ]
    wanted = [level.cause(threshold, today) for level in levels for threshold in sorted(level.reached())]
    return changes(known, ending, wanted)


def _goes_on(alert: Known, reached: Mapping[str, set[int]], today: str) -> bool:
    is_of_another_day = alert.subject == Measure.API_REQUESTS.value and alert.period != today
    return alert.threshold in reached[alert.subject] and not is_of_another_day
