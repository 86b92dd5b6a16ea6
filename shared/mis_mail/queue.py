"""Queues mails in the transaction of their cause, sealed: a mail may hold a link that opens a door.

The worker's role reads every job, so a payload in clear would let whoever reads the table take a password
over. It is sealed under the current master key, for this one mail of this tenant: that needs no row of the
tenant's, which not every role may read (docs/decisions/0006-mail-is-a-job.md).
"""

import base64
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from mis_jobs.jobs import enqueue
from mis_mail.mail import Mail, decoded, encoded
from mis_tenancy.encryption import Wrapping
from mis_tenancy.identifiers import new_id

# The kind of the job that sends a mail.
MAIL: Final = "mail"


class MailQueue:
    """Where features leave their mails; `wrapping` holds the master keys."""

    def __init__(self, wrapping: Wrapping) -> None:
        self._wrapping = wrapping

    async def enqueue(self, session: AsyncSession, mail: Mail, *, tenant_id: UUID | None) -> UUID:
        """Add the mail to the session's transaction, and return its id.

        `tenant_id` is the tenant whose mail it is, which the session's role must be bound to, or None for
        the platform's own, which only the platform's role may send.
        """
        mail_id = new_id()
        sealed, key_id = self._wrapping.wrap(encoded(mail), _purpose(mail_id, tenant_id))
        payload = {"mail": str(mail_id), "key": key_id, "sealed": base64.b64encode(sealed).decode()}
        await enqueue(session, MAIL, payload, tenant_id=tenant_id)
        return mail_id

    def opened(self, payload: dict[str, Any], *, tenant_id: UUID | None) -> Mail:
        """Return the mail of a job's payload; raise Undecryptable where it is not of this tenant's job."""
        purpose = _purpose(UUID(payload["mail"]), tenant_id)
        return decoded(self._wrapping.unwrap(base64.b64decode(payload["sealed"]), payload["key"], purpose))


def _purpose(mail_id: UUID, tenant_id: UUID | None) -> str:
    return f"mail:{tenant_id or 'platform'}:{mail_id}"
