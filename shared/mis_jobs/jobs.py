"""Enqueue work in the transaction of its cause, so that neither exists without the other."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.work import JobRow
from mis_tenancy.errors import ProblemError
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import PlatformSession, TenantSession, tenant_of, wake_after_commit
from mis_tenancy.tracing import current_traceparent

CHANNEL: Final = "mis:jobs"
PLATFORM_LANE: Final = UUID(int=0)
MOST_ATTEMPTS: Final = 8


class PermanentFailure(Exception):
    """A job cannot succeed however often it is tried; raised by a handler, it buries the job at once.

    Operators read the message: what happened and what to do, without anything of the tenant's.
    """


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed job: `attempt` counts from 1, and beyond `MOST_ATTEMPTS` it is the job's burial.

    `cause` is where whatever enqueued it stands in a trace, as a `traceparent`.
    """

    id: UUID
    tenant_id: UUID | None
    kind: str
    payload: dict[str, Any]
    attempt: int
    cause: str | None = None

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure now is final."""
        return self.attempt >= MOST_ATTEMPTS

    @property
    def is_burial(self) -> bool:
        """Whether the job has been given up, and this run only tells whoever waits for it."""
        return self.attempt > MOST_ATTEMPTS


async def enqueue(
    session: AsyncSession,
    kind: str,
    payload: dict[str, Any],
    *,
    tenant_id: UUID | None,
    run_at: datetime | None = None,
    dedupe_key: str | None = None,
    lane: UUID | None = None,
) -> UUID | None:
    """Add a job to the session's transaction and return its id; the commit wakes the workers.

    With a `dedupe_key`, a job of the same kind and key that is still queued or running stands in for this
    one, and None is returned. A platform's job that works for one tenant takes turns in that tenant's
    `lane`, so that many of them do not delay the platform's others.
    """
    row = _row(kind, payload, tenant_id, lane)
    row |= {"dedupe_key": dedupe_key, "run_at": run_at or func.now(), "is_due": run_at is None}
    row["created_at"] = func.now()
    added: UUID | None = await session.scalar(
        insert(JobRow).values(row).on_conflict_do_nothing().returning(JobRow.id)
    )
    if added is not None and run_at is None:
        wake_after_commit(session, CHANNEL)
    return added


def add_job(session: TenantSession, kind: str, payload: dict[str, Any]) -> None:
    """Add a job of the session's tenant to what the session writes next, for callers that cannot wait."""
    row = _row(kind, payload, tenant_of(session), None)
    session.add(JobRow(**row, run_at=func.now(), is_due=True, created_at=func.now()))
    wake_after_commit(session, CHANNEL)


async def enqueue_for_each(
    session: PlatformSession, kind: str, payload: dict[str, Any], tenants: Collection[UUID]
) -> None:
    """Add a job for each of the tenants to the session's transaction, in one statement."""
    if not tenants:
        return
    due = insert(JobRow).values(run_at=func.now(), is_due=True, created_at=func.now())
    await session.execute(due, [_row(kind, payload, tenant_id, None) for tenant_id in tenants])
    wake_after_commit(session, CHANNEL)


async def is_outstanding(session: PlatformSession, kind: str, lane: UUID) -> bool:
    """Return whether jobs of `kind` that have a `dedupe_key` wait or run in `lane`."""
    waits = JobRow.state.in_(("queued", "running")) & JobRow.dedupe_key.is_not(None)
    found = select(JobRow.id).where(JobRow.lane == lane, JobRow.kind == kind, waits).limit(1)
    return (await session.scalars(found)).first() is not None


def _row(kind: str, payload: dict[str, Any], tenant_id: UUID | None, lane: UUID | None) -> dict[str, Any]:
    return {
        "id": new_id(),
        "tenant_id": tenant_id,
        "lane": lane or tenant_id or PLATFORM_LANE,
        "kind": kind,
        "payload": payload,
        "state": "queued",
        "traceparent": current_traceparent(),
    }


def described(error: BaseException) -> str:
    """Return what operators may read of a failure.

    An error of ours says what happened. A library's may quote a row or a password, so only its name is told.
    """
    if isinstance(error, ProblemError):
        return f"{error.code}: {error}"
    if isinstance(error, PermanentFailure):
        return str(error)
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
