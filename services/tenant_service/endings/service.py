"""Deleting a tenant, which takes effect at once and for good only after a grace, and taking that back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from mis_jobs.jobs import enqueue
from mis_jobs.outbox import EventType, publish
from mis_tenancy.session import PlatformSession, TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import Tenant, TenantStatus
from tenant_service.endings import purge_repository, repository
from tenant_service.endings.certificates import claims_of
from tenant_service.endings.errors import TenantNotPurged
from tenant_service.errors import operators_only
from tenant_service.lifecycle.document import TenantDocument
from tenant_service.lifecycle.errors import TenantStateConflict
from tenant_service.lifecycle.service import shown
from tenant_service.lifecycle.steps import Step, take, tenant_in
from tenant_service.trail import Caller

PURGE: Final = "tenant_purge"
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
        if grace == timedelta(0):
            await enqueue_purge(self._session, row.id)
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


async def enqueue_purge(session: AsyncSession, tenant_id: UUID) -> None:
    """Let the worker purge the tenant as soon as it can; the session's role must be the platform's."""
    await enqueue(
        session, PURGE, {"tenantId": str(tenant_id)}, tenant_id=None, dedupe_key=PURGE, lane=tenant_id
    )


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate, signed, and what it claims."""

    text: str
    claims: dict[str, Any]


async def certificate_of(session: PlatformSession, tenant: Tenant) -> Certificate:
    """Return the certificate of a purged tenant; raise TenantNotPurged, which says how far its purge is."""
    record = await purge_repository.certificate_of(session, tenant.id)
    if record is None or record.certificate is None:
        raise TenantNotPurged(
            tenantStatus=tenant.status,
            purgeAt=tenant.purge_at,
            startedAt=None if record is None else record.started_at,
            failedAt=None if record is None else record.failed_at,
            reasons=[] if record is None else (record.failure or {}).get("reasons", []),
        )
    return Certificate(record.certificate, claims_of(record.certificate))


async def certificate_keys(session: PlatformSession) -> list[dict[str, Any]]:
    """Return every public key that verifies some certificate, newest first."""
    return await purge_repository.published_keys(session)


def _refuse_purging(row: TenantRow) -> None:
    if row.purging_since is not None:
        raise TenantStateConflict(
            "The purge of this tenant has begun; there is no way back.", tenantStatus=row.status
        )
