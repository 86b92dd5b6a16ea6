"""The worker's half: opens a queued mail, sends it, and keeps at it for a day where the server is away.

A job's own attempts are over within minutes. A mail that has used them up goes into a further job, a while
later, until the last of these is buried as dead with the mail still in it: the dead letter.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from mis_jobs.jobs import Job, PermanentFailure, enqueue
from mis_mail import repository
from mis_mail.mail import Mail
from mis_mail.messages import UnfitAddress, message_of
from mis_mail.queue import MAIL, MailQueue
from mis_mail.transport import MailRefused, MailUndelivered, Transport
from mis_tenancy.database import Database
from mis_tenancy.tracing import calling

_log = structlog.get_logger(__name__)

# How long after the job's last attempt the next job tries.
LATER: Final = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6), timedelta(hours=18))


class Delivery:
    """Runs the jobs of queued mails; `platform` is the platform role's database.

    Without a `transport` a mail is dropped, and the log says so.
    """

    def __init__(
        self, platform: Database, queue: MailQueue, transport: Transport | None, *, sender: str
    ) -> None:
        self._platform = platform
        self._queue = queue
        self._transport = transport
        self._sender = sender

    async def deliver(self, job: Job) -> None:
        """Send the mail of the job; raise MailUndelivered to try again, PermanentFailure never to."""
        if "sealed" not in job.payload:
            # Sent by a worker that died before it could say so.
            return
        mail = self._queue.opened(job.payload, tenant_id=job.tenant_id)
        if mail.expires_at is not None and mail.expires_at <= datetime.now(UTC):
            await self._close(job, "expired")
            return
        try:
            await self._send(job, mail)
        except MailUndelivered:
            if not job.is_last_attempt or not await self._put_off(job):
                raise
        except (MailRefused, UnfitAddress) as error:
            await self._close(job, "refused")
            raise PermanentFailure(str(error)) from error

    async def _send(self, job: Job, mail: Mail) -> None:
        if self._transport is None:
            await self._close(job, "dropped")
            return
        mail_id = UUID(job.payload["mail"])
        message = message_of(mail, sender=self._sender, mail_id=mail_id, now=datetime.now(UTC))
        with calling("send mail", {"messaging.operation.name": "send"}):
            await self._transport.send(message)
        await self._close(job, "sent")

    async def _close(self, job: Job, outcome: str) -> None:
        if outcome != "sent":
            _log.warning("mail.not_sent", mail=job.payload["mail"], outcome=outcome)
        async with self._platform.platform_transaction() as session:
            await repository.close(session, job.id, job.payload["mail"], outcome)

    async def _put_off(self, job: Job) -> bool:
        """Hand the mail to a job of its own later on; return False where it has been put off long enough."""
        already = job.payload.get("put_off", 0)
        if already >= len(LATER):
            return False
        async with self._platform.platform_transaction() as session:
            if await repository.close(session, job.id, job.payload["mail"], "put_off"):
                await enqueue(
                    session,
                    MAIL,
                    job.payload | {"put_off": already + 1},
                    tenant_id=job.tenant_id,
                    run_at=datetime.now(UTC) + LATER[already],
                )
        return True
