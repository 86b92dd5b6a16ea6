"""`/api/v1/tenants/jobs`: operators see what the worker has to do and did, and have what died tried again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_http.schemas import Text
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied
from tenant_service.job_queue.errors import JobNotDead, JobNotFound, JobSuperseded
from tenant_service.job_queue.filters import JobFilter, JobState
from tenant_service.job_queue.schemas import JobOut
from tenant_service.job_queue.service import JobQueue
from tenant_service.sessions import CrossingSession
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants/jobs", tags=["jobs"], route_class=DirectRoute)

_CLOSED = (AuthenticationRequired, PermissionDenied)


async def queue(session: CrossingSession, caller: Calling) -> JobQueue:
    """Return the job queue as the operator may use it."""
    return JobQueue(session, caller)


async def asked_jobs(
    state: Annotated[JobState | None, Query()] = None,
    tenant_id: Annotated[UUID | None, Query(alias="tenantId")] = None,
    kind: Annotated[Text | None, Query(max_length=100)] = None,
) -> JobFilter:
    """Read the filters of the query."""
    return JobFilter(state, tenant_id, kind)


Queue = Annotated[JobQueue, Depends(queue)]


@router.get("", responses=problems(*_CLOSED))
async def list_jobs(
    jobs: Queue,
    asked: Annotated[JobFilter, Depends(asked_jobs)],
    page: Paged,
    request: Request,
    response: Response,
) -> list[JobOut]:
    """List jobs of all tenants, newest first, without what they carry; for operators."""
    found = await jobs.listed(asked, page)
    shown = cut(found, page, [row.id for row in found], request, response)
    return [JobOut.of(row) for row in shown]


@router.post("/{job_id}/retry", responses=problems(*_CLOSED, JobNotFound, JobNotDead, JobSuperseded))
async def retry_job(job_id: UUID, jobs: Queue) -> JobOut:
    """Have a job that was given up tried again; for operators."""
    return JobOut.of(await jobs.retry(job_id))
