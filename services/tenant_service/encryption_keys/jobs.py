"""The background half of a rotation."""

from mis_jobs.jobs import Job
from tenant_service.encryption_keys.reencryption import Reencryption
from tenant_service.encryption_keys.service import REENCRYPTION

__all__ = ["REENCRYPTION", "KeyJobs"]


class KeyJobs:
    """Runs the jobs of this feature."""

    def __init__(self, reencryption: Reencryption) -> None:
        self._reencryption = reencryption

    async def reencrypt(self, job: Job) -> None:
        """Finish the rotation of the job's tenant."""
        if job.tenant_id is not None:
            await self._reencryption.finish(job.tenant_id)

    async def bury(self, job: Job) -> None:
        """Tell the job's tenant that its older keys are still needed, and what to do."""
        if job.tenant_id is not None:
            await self._reencryption.give_up(job.tenant_id)
