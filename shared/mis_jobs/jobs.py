"""Enqueue work in the transaction of its cause, so that neither exists without the other."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.work import JobRow
from mis_tenancy.identifiers import new_id

CHANNEL: Final = "mis:jobs"
PLATFORM_LANE: Final = UUID(int=0)
MOST_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed job: `attempt` counts from 1."""

    id: UUID
    tenant_id: UUID | None
    kind: str
    payload: dict[str, Any]
    attempt: int

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure now is final, so that what waits for the job must be told."""
        return self.attempt >= MOST_ATTEMPTS


async def enqueue(
    session: AsyncSession,
    kind: str,
    payload: dict[str, Any],
    *,
    tenant_id: UUID | None,
    run_at: datetime | None = None,
    dedupe_key: str | None = None,
) -> UUID | None:
    """Add a job to the session's transaction and return its id.

    With a `dedupe_key`, a job of the same kind and key that is still queued or running stands in for this
    one, and None is returned.
    """
    row = {
        "id": new_id(),
        "tenant_id": tenant_id,
        "lane": tenant_id or PLATFORM_LANE,
        "kind": kind,
        "payload": payload,
        "state": "queued",
        "dedupe_key": dedupe_key,
        "run_at": run_at or func.now(),
        "created_at": func.now(),
    }
    added: UUID | None = await session.scalar(
        insert(JobRow).values(row).on_conflict_do_nothing().returning(JobRow.id)
    )
    return added
