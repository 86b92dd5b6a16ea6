"""What the audit log can be narrowed by."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows are asked for; the range of time is half-open."""

    since: datetime | None = None
    until: datetime | None = None
    actor: UUID | None = None
    action: str | None = None
    outcome: str | None = None
    kind: str | None = None
