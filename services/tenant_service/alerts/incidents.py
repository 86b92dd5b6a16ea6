"""Which refusals in a tenant's audit log are an incident: some at once, others when there are many.

An incident is told once in a UTC day for each action. Its alert ends by itself when the day after has passed,
so that a new attack is news again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from tenant_service.alerts.causes import AlertKind, Cause, Changes, Known, Severity, changes

# Within this long, `many(users)` refusals of one action are an incident.
WINDOW: Final = timedelta(minutes=15)
_FEWEST: Final = 20
_USERS_EACH: Final = 50


@dataclass(frozen=True, slots=True)
class Incident:
    """What one refusal means; with `at_once` a single one is an incident."""

    severity: Severity
    message: str
    at_once: bool = False

    def cause(self, action: str, day: date) -> Cause:
        """Return the alert for what `action` was refused on `day`."""
        return Cause(AlertKind.SECURITY, action, self.severity, self.message, period=day.isoformat())


_KNOWN: Final[Mapping[str, Incident]] = {
    "session.refresh_reused": Incident(
        Severity.CRITICAL,
        "A refresh token was used a second time, as a stolen one would be. Its session was ended on all "
        "devices. Ask its user whether the sign-ins were theirs, and let them change the password.",
        at_once=True,
    ),
    "login.passkey_copied": Incident(
        Severity.CRITICAL,
        "A passkey was used whose counter had not gone forward, as that of a copy would not. The sign-in was "
        "refused. Look in the audit log for whose it is, and let them remove the passkey and make a new one.",
        at_once=True,
    ),
    "tenant_mismatch": Incident(
        Severity.WARNING,
        "A token of this tenant was used against another tenant, and refused. Look in the audit log for "
        "whose it is: a client is set up wrongly, or somebody tries doors.",
        at_once=True,
    ),
    "login.failed": Incident(
        Severity.WARNING,
        "Unusually many sign-ins failed within 15 minutes. Somebody may be guessing passwords; accounts and "
        "addresses are slowed down by themselves. Look in the audit log for whom it concerns.",
    ),
}
_OTHER: Final = Incident(
    Severity.WARNING,
    "Unusually many attempts of one kind were refused within 15 minutes. Look in the audit log, under this "
    "alert's subject as the action, for whom it concerns.",
)


def incident_of(action: str) -> Incident:
    """Return what a refusal of `action` means."""
    return _KNOWN.get(action, _OTHER)


def many(users: int) -> int:
    """Return how many refusals in 15 minutes are unusual in a tenant of so many users."""
    return max(_FEWEST, users // _USERS_EACH)


def incident_changes(actions: Iterable[str], known: Sequence[Known], day: date) -> Changes:
    """Return what incidents of `actions` on `day` change about the tenant's alerts, and what time does."""
    ending = [
        alert
        for alert in known
        if alert.kind is AlertKind.SECURITY and not alert.has_ended and _is_over(alert, day)
    ]
    return changes(known, ending, [incident_of(action).cause(action, day) for action in sorted(actions)])


def _is_over(alert: Known, day: date) -> bool:
    return alert.period is not None and alert.period < (day - timedelta(days=1)).isoformat()
