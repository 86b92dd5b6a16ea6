"""Takes a person's address out of the jobs that still hold it: mails that wait, and asks for a new password.

Both are sealed, so each has to be opened to see whose it is.
"""

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from mis_accounts.emails import norm_of
from mis_accounts.reset_asks import RESET_MAIL, opened
from mis_mail.queue import MAIL, MailQueue
from mis_tenancy.encryption import Undecryptable, Wrapping
from mis_tenancy.session import TenantSession
from user_service.erasure import repository

_Addressee = Callable[[dict[str, Any], UUID], str]


async def drop_mail(
    session: TenantSession, wrapping: Wrapping, tenant_id: UUID, norms: Collection[str]
) -> int:
    """Empty the tenant's jobs about any of these addresses, and return how many there were."""
    queue = MailQueue(wrapping)
    addressees: dict[str, _Addressee] = {
        MAIL: lambda payload, tenant: queue.opened(payload, tenant_id=tenant).to,
        RESET_MAIL: lambda payload, tenant: opened(wrapping, payload, tenant),
    }
    ids = [
        job.id
        for job in await repository.sealed_jobs(session, addressees)
        if _norm(addressees[job.kind], job.payload, tenant_id) in norms
    ]
    await repository.empty_jobs(session, ids)
    return len(ids)


def _norm(addressee: _Addressee, payload: dict[str, Any], tenant_id: UUID) -> str | None:
    try:
        return norm_of(addressee(payload, tenant_id))
    except Undecryptable:
        # Under a master key that is gone nobody will ever read it.
        return None
