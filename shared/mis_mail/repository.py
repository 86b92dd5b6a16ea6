"""The statement that takes a mail out of a job once it needs it no more."""

from uuid import UUID

from sqlalchemy import update

from mis_models.work import JobRow
from mis_tenancy.session import PlatformSession


async def close(session: PlatformSession, job_id: UUID, mail_id: str, outcome: str) -> bool:
    """Leave of the job's payload only which mail it was and what became of it.

    Return False where nothing was left of it any more, because whom it is about was erased meanwhile.
    """
    holding = (JobRow.id == job_id, JobRow.payload.has_key("sealed"))
    closing = update(JobRow).where(*holding).values(payload={"mail": mail_id, "outcome": outcome})
    closed = await session.scalar(closing.returning(JobRow.id).execution_options(synchronize_session=False))
    return closed is not None
