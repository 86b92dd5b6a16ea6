"""The statement that takes a mail out of a job once it needs it no more."""

from uuid import UUID

from sqlalchemy import update

from mis_models.work import JobRow
from mis_tenancy.session import PlatformSession


async def close(session: PlatformSession, job_id: UUID, mail_id: str, outcome: str) -> None:
    """Leave of the job's payload only which mail it was and what became of it."""
    left = {"mail": mail_id, "outcome": outcome}
    await session.execute(update(JobRow).where(JobRow.id == job_id).values(payload=left))
