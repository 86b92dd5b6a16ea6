"""The audit log's background work: sealing, which never stops, and retention by the hour."""

from datetime import timedelta
from typing import Final

from mis_jobs.jobs import Job
from mis_jobs.schedules import Schedule
from tenant_service.audit_seals.retention import Retention

RETENTION: Final = "audit_retention"
SCHEDULES: Final = [Schedule(RETENTION, timedelta(hours=1))]


class AuditRetention:
    """Runs retention as a job."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention

    async def run(self, job: Job) -> None:
        """Delete what every tenant's plan no longer keeps."""
        await self._retention.prune_all()
