"""Every statement about jobs that operators look at; payloads are never read."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, select, update
from sqlalchemy.exc import IntegrityError

from mis_http.pages import Page
from mis_models.work import JobRow
from mis_tenancy.session import PlatformSession
from tenant_service.job_queue.errors import JobSuperseded
from tenant_service.job_queue.filters import JobFilter, JobState

SHOWN = (
    JobRow.id,
    JobRow.tenant_id,
    JobRow.kind,
    JobRow.state,
    JobRow.attempts,
    JobRow.run_at,
    JobRow.last_error,
    JobRow.created_at,
    JobRow.finished_at,
)

ShownJob = Row[*tuple[Any, ...]]


async def listed(session: PlatformSession, asked: JobFilter, page: Page) -> Sequence[ShownJob]:
    """Return a page of jobs, one longer where there is more."""
    return (await session.execute(listing(asked, page))).all()


def listing(asked: JobFilter, page: Page) -> Select[*tuple[Any, ...]]:
    """Return the statement of a page."""
    statement = select(*SHOWN)
    if asked.state is not None:
        statement = statement.where(JobRow.state == asked.state.value)
    if asked.tenant_id is not None:
        statement = statement.where(JobRow.tenant_id == asked.tenant_id)
    if asked.kind is not None:
        statement = statement.where(JobRow.kind == asked.kind)
    return page.apply(statement, JobRow.id)  # type: ignore[arg-type]  # the mapped column is the column


async def job(session: PlatformSession, job_id: UUID) -> ShownJob | None:
    """Return the job, locked against whoever else would change it."""
    one = select(*SHOWN).where(JobRow.id == job_id).with_for_update()
    return (await session.execute(one)).one_or_none()


async def revive(session: PlatformSession, job_id: UUID) -> ShownJob:
    """Queue the dead job as if it were new; raise JobSuperseded where one with its key stands already."""
    fresh = {
        "state": JobState.QUEUED.value,
        "attempts": 0,
        "is_due": True,
        "run_at": func.now(),
        "finished_at": None,
    }
    statement = update(JobRow).where(JobRow.id == job_id).values(fresh).returning(*SHOWN)
    try:
        return (await session.execute(statement.execution_options(synchronize_session=False))).one()
    except IntegrityError as error:
        if "uq_jobs_dedupe_key" in str(error.orig):
            raise JobSuperseded from error
        raise
