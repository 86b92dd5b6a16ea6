"""The jobs that write to people about alerts."""

from datetime import timedelta
from typing import Final

from mis_jobs.jobs import Job
from mis_jobs.schedules import Schedule
from mis_mail.composition import Composition
from mis_mail.queue import MailQueue
from mis_tenancy.database import Database
from tenant_service.alerts.book import NOTICE
from tenant_service.alerts.letters import TEMPLATES
from tenant_service.alerts.notices import Notices
from tenant_service.alerts.operators import OperatorNotices

__all__ = ["NOTICE", "OPERATOR_NOTICE", "SCHEDULES", "AlertJobs"]

# Tells operators what had to wait for its turn, or what a worker died over.
OPERATOR_NOTICE: Final = "operator_notice"
SCHEDULES: Final = [Schedule(OPERATOR_NOTICE, timedelta(minutes=1))]


class AlertJobs:
    """Runs the notices as jobs; links in them lead to `public_url`, operators read `operator_email`.

    Without a `queue` nobody is written to.
    """

    def __init__(
        self,
        platform: Database,
        application: Database,
        queue: MailQueue | None,
        *,
        public_url: str,
        operator_email: str | None,
    ) -> None:
        letters = Composition(TEMPLATES, public_url)
        self._operators = OperatorNotices(platform, application, letters, queue, operator_email)
        self._tenants = Notices(application, letters, queue, self._operators)

    async def tell_tenant(self, job: Job) -> None:
        """Write to the people of the job's tenant about all that is news."""
        if job.tenant_id is not None:
            await self._tenants.tell(job.tenant_id)

    async def tell_operators(self, job: Job) -> None:
        """Write to the platform's staff about what is due."""
        await self._operators.tell()
