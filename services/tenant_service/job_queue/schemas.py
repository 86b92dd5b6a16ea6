"""Jobs on the wire: all of them but what they carry."""

from typing import Any, Self
from uuid import UUID

from mis_http.schemas import Moment, ResponseBody
from mis_jobs.jobs import MOST_ATTEMPTS
from tenant_service.job_queue.filters import JobState


class JobOut(ResponseBody):
    """A job; `tenantId` is null for the platform's own, `error` is what its last failed run met."""

    id: UUID
    tenant_id: UUID | None
    kind: str
    state: JobState
    attempts: int
    run_at: Moment
    error: str | None
    created_at: Moment
    finished_at: Moment | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the job as it is shown."""
        names = cls.model_fields.keys() - {"attempts", "error"}
        # What comes after the last attempt only tells of the end.
        attempts = min(row.attempts, MOST_ATTEMPTS)
        return cls(**{name: getattr(row, name) for name in names}, attempts=attempts, error=row.last_error)
