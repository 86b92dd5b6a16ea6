"""Deleting a tenant, which takes effect at once and for good only after a grace, and taking that back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mis_jobs.outbox import EventType, publish
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import Tenant, TenantStatus
from tenant_service.endings import repository
from tenant_service.errors import operators_only
from tenant_service.lifecycle.document import TenantDocument
from tenant_service.lifecycle.errors import TenantStateConflict
from tenant_service.lifecycle.service import shown
from tenant_service.lifecycle.steps import Step, take, tenant_in
from tenant_service.trail import Caller

GRACE: Final = timedelta(days=30)
_DELETABLE: Final = frozenset({TenantStatus.ACTIVE, TenantStatus.SUSPENDED})
_ENDING: Final = frozenset({TenantStatus.PENDING_DELETION})
_ONLY_OPERATORS_CHOOSE: Final = (
    "Only an operator of the platform may choose the grace. Leave `graceDays` out for the usual 30 days."
)


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion that was asked for: until when it can be taken back, and the version of the tenant."""

    purge_at: datetime
    version: int


class Endings:
    """Ends `tenant`, whose session this is, on behalf of `caller`; the platform's session for operators."""

    def __init__(self, session: TenantSession, tenant: Tenant, caller: Caller) -> None:
        self._session = session
        self._tenant = tenant
        self._caller = caller

    async def delete(
        self, grace: timedelta | None = None, hold: Callable[[int], None] = lambda version: None
    ) -> Deletion:
        """Close the tenant at once, to be purged after `grace`, by default 30 days.

        Only operators choose the grace, also that of a deletion under way. `hold` raises where the caller
        expected another version. Raise TenantStateConflict for a tenant that is not active or suspended.
        """
        if grace is not None and not self._caller.is_operator:
            raise operators_only(_ONLY_OPERATORS_CHOOSE)
        row = await tenant_in(self._session, _DELETABLE if grace is None else _DELETABLE | _ENDING)
        hold(row.version)
        _refuse_purging(row)
        if row.status != TenantStatus.PENDING_DELETION:
            row.status_before = row.status
        purge_at = await repository.moment(self._session) + (GRACE if grace is None else grace)
        row.purge_at = purge_at
        # The reason of a suspension stays, because a restoration leads back to it.
        step = Step(TenantStatus.PENDING_DELETION, "tenant.deleted", row.status_reason, ends_tokens=True)
        await take(self._session, row, step, self._caller)
        self._tell(EventType.TENANT_DELETED, purge_at)
        return Deletion(purge_at, row.version)

    async def restore(self) -> TenantDocument:
        """Lead the tenant back to what it was before its deletion; tokens from meanwhile end.

        One that was suspended is suspended again: a deletion lifts no suspension. Raise TenantStateConflict
        for a tenant that is not pending deletion, or whose purge has begun.
        """
        row = await tenant_in(self._session, _ENDING)
        _refuse_purging(row)
        before = TenantStatus(row.status_before or TenantStatus.ACTIVE)
        row.status_before = row.purge_at = None
        step = Step(before, "tenant.restored", row.status_reason, ends_tokens=True)
        await take(self._session, row, step, self._caller)
        self._tell(EventType.TENANT_RESTORED, None)
        return await shown(self._session, row, self._tenant)

    def _tell(self, event: EventType, purge_at: datetime | None) -> None:
        due = None if purge_at is None else purge_at.isoformat().replace("+00:00", "Z")
        publish(self._session, event, {"tenantId": str(self._tenant.id), "purgeAt": due})


def _refuse_purging(row: TenantRow) -> None:
    if row.purging_since is not None:
        raise TenantStateConflict(
            "The purge of this tenant has begun; there is no way back.", tenantStatus=row.status
        )
