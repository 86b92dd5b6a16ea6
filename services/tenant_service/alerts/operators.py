"""Mails to the platform's staff: security incidents of all tenants, and whatever happens to priority ones.

The first goes at once; what follows within five minutes is gathered, over all tenants, into the next.
"""

from datetime import timedelta
from typing import Any, Final

from mis_mail.composition import Composition
from mis_mail.queue import MailQueue
from mis_models.alerts import AlertRow
from mis_tenancy.database import Database
from mis_tenancy.directory import TenantDirectory
from mis_tenancy.plans import Feature
from tenant_service.alerts import notice_repository as repository
from tenant_service.alerts.letters import headline, shown

PAUSE: Final = timedelta(minutes=5)
_MOST_SHOWN: Final = 100


class OperatorNotices:
    """Tells operators, at `address`, of alerts; without a `queue` or an address nobody is told."""

    def __init__(
        self,
        platform: Database,
        application: Database,
        composition: Composition,
        queue: MailQueue | None,
        address: str | None,
    ) -> None:
        self._platform = platform
        self._application = application
        self._composition = composition
        self._queue = queue
        self._address = address

    @property
    def are_written_to(self) -> bool:
        """Whether there is somebody to tell, and a way to."""
        return self._queue is not None and self._address is not None

    async def tell(self) -> None:
        """Write about what is due, unless operators were written to a moment ago."""
        if self._queue is None or self._address is None:
            return
        async with self._platform.platform_transaction() as session:
            waiting = await repository.due(session, _MOST_SHOWN)
            if not waiting or not await repository.take_turn(session, PAUSE):
                return
            due = await repository.take(session, waiting)
            mail = self._composition.compose(
                "operators",
                to=self._address,
                subject=f"Tenants: {headline(due)}",
                values={"alerts": [shown(alert) | await self._whose(alert) for alert in due]},
            )
            await self._queue.enqueue(session, mail, tenant_id=None)

    async def _whose(self, alert: AlertRow) -> dict[str, Any]:
        """Return what is said of the alert's tenant; whether it has priority, the platform may not read."""
        tenant = await TenantDirectory(self._application).by_id(alert.tenant_id)
        return {
            "tenant_id": str(alert.tenant_id),
            "tenant": "" if tenant is None else tenant.name,
            "slug": "" if tenant is None else tenant.slug,
            "is_priority": tenant is not None and tenant.has(Feature.PRIORITY_SUPPORT),
        }
