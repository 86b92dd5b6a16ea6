"""Suspending a tenant and letting it back in, each a step from one state to another that happens once."""

from datetime import UTC, datetime
from typing import Any, Final

from mis_tenancy.gate import PAST_DUE
from mis_tenancy.plans import Feature
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import Tenant, TenantStatus
from tenant_service.lifecycle import repository
from tenant_service.lifecycle.document import TenantDocument
from tenant_service.lifecycle.errors import TenantStateConflict
from tenant_service.trail import Caller

_SUSPENDABLE: Final = frozenset({TenantStatus.ACTIVE, TenantStatus.MAINTENANCE})
_REACTIVABLE: Final = frozenset({TenantStatus.SUSPENDED, TenantStatus.PENDING_DELETION})


class States:
    """Moves `tenant` between states; the session is the platform's, bound to it."""

    def __init__(self, session: TenantSession, tenant: Tenant, caller: Caller) -> None:
        self._session = session
        self._tenant = tenant
        self._caller = caller

    async def suspend(self, reason: str) -> TenantDocument:
        """Close the tenant to its members, whose tokens stay good for the day it opens again.

        Raise TenantStateConflict unless it is active or in maintenance.
        """
        row = await self._in(_SUSPENDABLE)
        return await self._move(row, TenantStatus.SUSPENDED, "tenant.suspended", reason)

    async def reactivate(self) -> TenantDocument:
        """Open a suspended tenant, or one pending deletion, again; raise TenantStateConflict for any other.

        While it was ending, its owner may have signed in with narrow rights: every token from before ends.
        """
        row = await self._in(_REACTIVABLE)
        was_ending = row.status == TenantStatus.PENDING_DELETION or row.status_reason == PAST_DUE
        if was_ending:
            row.epoch += 1
        row.purge_at = None
        epoch = row.epoch if was_ending else None
        return await self._move(row, TenantStatus.ACTIVE, "tenant.reactivated", None, epoch)

    async def _in(self, states: frozenset[TenantStatus]) -> TenantRow:
        row = await repository.lock_tenant(self._session)
        if row.status not in states:
            raise TenantStateConflict(tenantStatus=row.status)
        return row

    async def _move(
        self, row: TenantRow, to: TenantStatus, action: str, reason: str | None, epoch: int | None = None
    ) -> TenantDocument:
        now = datetime.now(UTC)
        changes: dict[str, Any] = {
            "status": {"old": row.status, "new": to.value},
            "status_reason": {"old": row.status_reason, "new": reason},
        }
        row.status, row.status_reason, row.status_since = to.value, reason, now
        row.version += 1
        row.updated_at = now
        resource = f"tenants/{row.id}"
        self._caller.record(self._session, action, resource=resource, changes=changes)
        self._caller.record_on_platform(
            self._session, action, resource=resource, tenant_id=row.id, reason=reason, changes=changes
        )
        revoke(self._session, Kind.TENANT, tenant_id=row.id, epoch=epoch)
        profile = await repository.profile(self._session)
        features = {feature: self._tenant.has(feature) for feature in Feature}
        return TenantDocument(row, profile.settings, features)
