"""What an alert can be about, as values."""

from dataclasses import dataclass
from enum import StrEnum


class AlertKind(StrEnum):
    """What part of a tenant's life an alert is about."""

    LIMIT = "limit"
    HEALTH = "health"
    SECURITY = "security"
    BILLING = "billing"


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
