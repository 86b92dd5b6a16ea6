"""What becomes of pictures whose person leaves: their rows go with the user, their objects by a job."""

from typing import Final
from uuid import UUID

from mis_jobs.jobs import enqueue
from mis_tenancy.session import TenantSession, tenant_of
from user_service.verifications import repository

DISCARD: Final = "verification.discard"


async def discard_pictures(session: TenantSession, user_id: UUID) -> int:
    """Have the user's pictures deleted once the transaction commits; return how many there are."""
    ids = await repository.with_pictures(session, user_id)
    for verification_id in ids:
        payload = {"verificationId": str(verification_id)}
        await enqueue(session, DISCARD, payload, tenant_id=tenant_of(session))
    return len(ids)
