"""The worker's half of a forgotten password: finds out whether anybody has the address, and writes to them.

It may run twice; then there are two links, each of which makes the other worthless once it is used.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from auth_service.passwords import repository
from auth_service.passwords.letters import Letters
from mis_accounts.account_links import add_account_link
from mis_accounts.link_tokens import LinkPurpose
from mis_accounts.reset_asks import opened
from mis_jobs.jobs import Job
from mis_mail.queue import MailQueue
from mis_tenancy.database import Database
from mis_tenancy.encryption import Wrapping

LIFETIME: Final = timedelta(hours=1)


class ResetMails:
    """Writes the mails; `application` is entered as each tenant, `public_url` is where their links lead."""

    def __init__(self, application: Database, wrapping: Wrapping, public_url: str) -> None:
        self._application = application
        self._wrapping = wrapping
        self._mails = MailQueue(wrapping)
        self._letters = Letters(public_url)

    async def write(self, job: Job) -> None:
        """Queue the mail with a fresh link, where an active user or an invited one has the address."""
        if job.tenant_id is None or "sealed" not in job.payload:
            # Without an address whoever had it has been erased.
            return
        email_norm = opened(self._wrapping, job.payload, job.tenant_id)
        async with self._application.transaction(job.tenant_id) as session:
            found = await repository.addressee(session, email_norm)
            if found is None:
                return
            now = datetime.now(UTC)
            token = await add_account_link(session, LinkPurpose.RESET, found.id, now=now, lifetime=LIFETIME)
            mail = self._letters.reset(found.tenant, found.name, found.email, token, now + LIFETIME)
            await self._mails.enqueue(session, mail, tenant_id=job.tenant_id)
