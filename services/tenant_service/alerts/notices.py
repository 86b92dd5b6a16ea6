"""Mails about alerts to a tenant's owners and admins: one for all that is news, in the same transaction.

What repeats itself is held back: limits and incidents open at most once a day by themselves, and health,
which can come and go, is written about at most every quarter of an hour, with all that has happened since.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from mis_jobs.jobs import enqueue
from mis_mail.composition import Composition
from mis_mail.queue import MailQueue
from mis_models.alerts import AlertRow
from mis_tenancy.database import Database
from mis_tenancy.directory import TenantDirectory
from mis_tenancy.plans import Feature
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Tenant
from tenant_service.alerts import notice_repository as repository
from tenant_service.alerts.book import NOTICE
from tenant_service.alerts.causes import AlertKind
from tenant_service.alerts.letters import headline, shown
from tenant_service.alerts.operators import OperatorNotices

HEALTH_PAUSE: Final = timedelta(minutes=15)
_MOST_SHOWN: Final = 20


class Notices:
    """Tells tenants' people of alerts; without a `queue` there is nowhere to tell them.

    `application` is the application role's database: addresses and configuration are the tenant's own.
    """

    def __init__(
        self,
        application: Database,
        composition: Composition,
        queue: MailQueue | None,
        operators: OperatorNotices,
    ) -> None:
        self._application = application
        self._composition = composition
        self._queue = queue
        self._operators = operators

    async def tell(self, tenant_id: UUID) -> None:
        """Write about all that is news of the tenant."""
        # A directory of its own asks the database, so this is the tenant as it is now.
        tenant = await TenantDirectory(self._application).by_id(tenant_id)
        if tenant is None or tenant.is_purging:
            return
        async with self._application.transaction(tenant.id) as session:
            concern_operators = await self._tell(session, tenant)
        if concern_operators:
            await self._operators.tell()

    async def _tell(self, session: TenantSession, tenant: Tenant) -> bool:
        """Queue the mails of the tenant's news; return whether operators have to be told of some, too."""
        news, now = await repository.lock_news(session), datetime.now(UTC)
        wait_until = await _paused_until(session, news, now)
        if wait_until is not None:
            key = f"after {wait_until.isoformat()}"
            await enqueue(session, NOTICE, {}, tenant_id=tenant.id, run_at=wait_until, dedupe_key=key)
            return False
        if news and self._queue is not None:
            await self._write(session, self._queue, tenant, news)
        is_priority = tenant.has(Feature.PRIORITY_SUPPORT)
        for alert in news:
            alert.is_news, alert.told_at = False, now
            concerns_them = is_priority or alert.kind == AlertKind.SECURITY.value
            alert.operators_due = concerns_them and self._operators.are_written_to
        return any(alert.operators_due for alert in news)

    async def _write(
        self, session: TenantSession, queue: MailQueue, tenant: Tenant, news: Sequence[AlertRow]
    ) -> None:
        values = {
            "tenant": tenant.name,
            "tenant_id": str(tenant.id),
            "alerts": [shown(alert) for alert in news[:_MOST_SHOWN]],
            "more": max(0, len(news) - _MOST_SHOWN),
        }
        for address in await repository.recipients(session):
            mail = self._composition.compose(
                "alerts", to=address, subject=f"{tenant.name}: {headline(news)}", values=values
            )
            await queue.enqueue(session, mail, tenant_id=tenant.id)


async def _paused_until(session: TenantSession, news: Sequence[AlertRow], now: datetime) -> datetime | None:
    """Return until when the news has to wait, or None where it can be told."""
    if not news or any(alert.kind != AlertKind.HEALTH.value for alert in news):
        return None
    last = await repository.last_told_of_health(session)
    return None if last is None or last + HEALTH_PAUSE <= now else last + HEALTH_PAUSE
