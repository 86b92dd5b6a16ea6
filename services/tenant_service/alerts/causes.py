"""What an alert can be about, and what is to be done about some, as values."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class AlertKind(StrEnum):
    """What part of a tenant's life an alert is about."""

    LIMIT = "limit"
    HEALTH = "health"
    SECURITY = "security"
    BILLING = "billing"
    WEBHOOK = "webhook"


class Severity(StrEnum):
    """How much an alert matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertStatus(StrEnum):
    """The states of an alert; an acknowledged one still waits for its end."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an alert is opened.

    `subject` is what of the `kind` it is about, in snake_case: `users`, `past_due`, `session.refresh_reused`.
    `threshold` is a percentage. With a `period`, such as a UTC day or an invoice's id, the alert is opened
    at most once in it, even if it has ended meanwhile. `message` says what happened and what to do; it goes
    into mails and webhooks, so it names nobody and holds no secret.
    """

    kind: AlertKind
    subject: str
    severity: Severity
    message: str
    threshold: int | None = None
    period: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """An alert that has not ended, or that was opened today."""

    id: UUID
    kind: AlertKind
    subject: str
    threshold: int | None
    period: str | None
    has_ended: bool

    def is_of(self, cause: Cause) -> bool:
        """Return whether the alert would be the cause's."""
        return (self.kind, self.subject, self.threshold) == (cause.kind, cause.subject, cause.threshold)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done about a tenant's alerts: end these, then open those."""

    ending: Sequence[Known] = ()
    opening: Sequence[Cause] = ()

    def __bool__(self) -> bool:
        return bool(self.ending or self.opening)


def changes(known: Sequence[Known], ending: Sequence[Known], wanted: Sequence[Cause]) -> Changes:
    """Return how to end `ending` and open what of `wanted` no alert of `known` stands for.

    One that has not ended stands for its cause in later periods too, and one that has ended in its own.
    """
    left = [alert for alert in known if alert not in ending]
    opening = [
        cause
        for cause in wanted
        if not any(alert.is_of(cause) and not alert.has_ended for alert in left)
        and not any(alert.is_of(cause) and alert.period == cause.period for alert in known)
    ]
    return Changes(ending, opening)
