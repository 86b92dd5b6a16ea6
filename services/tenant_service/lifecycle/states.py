"""Suspending a tenant and letting it back in, each a step from one state to another that happens once."""

from typing import Final

from mis_jobs.outbox import EventType, publish
from mis_tenancy.gate import PAST_DUE
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Tenant, TenantStatus
from tenant_service.billing.errors import SubscriptionEnded
from tenant_service.billing.repository import subscription as subscription_of
from tenant_service.billing.subscription import State
from tenant_service.lifecycle.document import TenantDocument
from tenant_service.lifecycle.service import shown
from tenant_service.lifecycle.steps import Step, take, tenant_in
from tenant_service.trail import Caller

_SUSPENDABLE: Final = frozenset({TenantStatus.ACTIVE, TenantStatus.MAINTENANCE})
# A deletion is taken back by a restoration, which knows what was before it.
_REACTIVABLE: Final = frozenset({TenantStatus.SUSPENDED})
_TO_BE_RESUMED: Final = (
    "This tenant's subscription has ended. POST …/billing/resume begins a new period and opens the tenant."
)


class States:
    """Moves `tenant` between states; the session is the platform's, bound to it."""

    def __init__(self, session: TenantSession, tenant: Tenant, caller: Caller) -> None:
        self._session = session
        self._tenant = tenant
        self._caller = caller

    async def suspend(self, reason: str) -> TenantDocument:
        """Close the tenant to its members, whose tokens stay good for the day it opens again.

        Where the reason is `past_due` they end: the owner signs in anew and gets narrow rights. Raise
        TenantStateConflict unless the tenant is active or in maintenance.
        """
        row = await tenant_in(self._session, _SUSPENDABLE)
        step = Step(TenantStatus.SUSPENDED, "tenant.suspended", reason, ends_tokens=reason == PAST_DUE)
        await take(self._session, row, step, self._caller)
        publish(self._session, EventType.TENANT_SUSPENDED, {"reason": reason})
        return await shown(self._session, row, self._tenant)

    async def reactivate(self) -> TenantDocument:
        """Open a suspended tenant again; raise TenantStateConflict for any other.

        Where it was past due, its owner may have signed in with narrow rights: tokens from then end. Raise
        SubscriptionEnded for one whose subscription has, as it would be served for nothing.
        """
        row = await tenant_in(self._session, _REACTIVABLE)
        subscription = await subscription_of(self._session)
        if subscription is not None and subscription.state == State.CANCELED:
            raise SubscriptionEnded(_TO_BE_RESUMED)
        was_past_due = row.status_reason == PAST_DUE
        step = Step(TenantStatus.ACTIVE, "tenant.reactivated", ends_tokens=was_past_due)
        await take(self._session, row, step, self._caller)
        publish(self._session, EventType.TENANT_REACTIVATED, {})
        return await shown(self._session, row, self._tenant)
