"""What the list of jobs can be narrowed by."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class JobState(StrEnum):
    """How a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are asked for."""

    state: JobState | None = None
    tenant_id: UUID | None = None
    kind: str | None = None
