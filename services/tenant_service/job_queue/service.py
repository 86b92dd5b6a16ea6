"""The rules of the job queue as operators use it."""

from collections.abc import Sequence
from uuid import UUID

from mis_http.pages import Page
from mis_jobs.jobs import CHANNEL
from mis_tenancy.session import PlatformSession, wake_after_commit
from tenant_service.job_queue import repository
from tenant_service.job_queue.errors import JobNotDead, JobNotFound
from tenant_service.job_queue.filters import JobFilter, JobState
from tenant_service.job_queue.repository import ShownJob
from tenant_service.trail import Caller


class JobQueue:
    """The jobs of all tenants and of the platform."""

    def __init__(self, session: PlatformSession, caller: Caller) -> None:
        self._session = session
        self._caller = caller

    async def listed(self, asked: JobFilter, page: Page) -> Sequence[ShownJob]:
        """Return a page of jobs, one longer where there is more."""
        return await repository.listed(self._session, asked, page)

    async def retry(self, job_id: UUID) -> ShownJob:
        """Have a dead job tried again as if new; raise JobNotFound, JobNotDead or JobSuperseded."""
        found = await repository.job(self._session, job_id)
        if found is None:
            raise JobNotFound
        if found.state != JobState.DEAD:
            raise JobNotDead(state=found.state)
        revived = await repository.revive(self._session, job_id)
        self._caller.record_on_platform(
            self._session,
            "job.retried",
            resource=f"jobs/{job_id}",
            tenant_id=found.tenant_id,
            changes={"state": {"old": found.state, "new": revived.state}},
        )
        wake_after_commit(self._session, CHANNEL)
        return revived
