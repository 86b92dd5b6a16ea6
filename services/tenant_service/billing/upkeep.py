"""Brings one tenant's billing up to a moment: opens, renews, ends, and follows up what is not paid.

All of it happens in one transaction under the tenant's lock and starts from what the rows say, so running it
again, or after a kill, changes nothing twice. A tenant that was closed when a period ended owes nothing for
the time until it is opened again; then a new period begins.
"""

from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from mis_models.billing import SubscriptionRow
from mis_tenancy.gate import PAST_DUE
from mis_tenancy.plans import PlanName
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from mis_tenancy.turns import lock_tenant
from tenant_service.alerts.book import open_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tenant_service.billing import repository
from tenant_service.billing.access import CANCELED, close
from tenant_service.billing.opening import open_period, open_subscription
from tenant_service.billing.subscription import State, price_of, standing

GRACE: Final = timedelta(days=14)
PAYMENT_OVERDUE: Final = Cause(
    AlertKind.BILLING,
    "past_due",
    Severity.WARNING,
    "An invoice is overdue. Pay it, or the tenant is suspended 14 days after the invoice was due.",
)
_BILLED: Final = frozenset({TenantStatus.ACTIVE, TenantStatus.MAINTENANCE})


class PeriodEnd(Protocol):
    """What else happens when a period ends, before the next one is billed: scheduled changes of plan."""

    async def prepare(self, tenant_id: UUID, now: datetime) -> None:
        """Do what must be in force for everybody before `take`, in transactions of its own."""
        ...

    async def take(
        self, session: TenantSession, tenant: TenantRow, subscription: SubscriptionRow, now: datetime
    ) -> None:
        """Do the rest in the renewal's transaction; both rows are locked."""
        ...


async def bring_up(session: TenantSession, now: datetime, period_end: PeriodEnd) -> None:
    """Do whatever is due for the session's tenant at `now`."""
    tenant = await lock_tenant(session)
    if tenant.status not in _BILLED:
        return
    subscription = await _opened(session, tenant, now)
    if subscription.next_plan is not None and subscription.period_end <= now:
        await period_end.take(session, tenant, subscription, now)
    await _renew(session, tenant, subscription, now)
    if subscription.state != State.CANCELED:
        await _follow_up(session, tenant, subscription, now)


async def current(session: TenantSession, now: datetime) -> tuple[TenantRow, SubscriptionRow]:
    """Return the session's tenant and its subscription, both locked, in the period that contains `now`.

    Where the tenant is closed, or a change of plan waits for the period's end, the period may be over: it is
    renewed when the tenant is opened again, or by the worker with the change.
    """
    tenant = await lock_tenant(session)
    subscription = await _opened(session, tenant, now)
    if tenant.status in _BILLED and subscription.next_plan is None:
        await _renew(session, tenant, subscription, now)
    return tenant, subscription


async def _opened(session: TenantSession, tenant: TenantRow, now: datetime) -> SubscriptionRow:
    """Return the tenant's subscription, locked; a tenant older than billing gets its first one."""
    subscription = await repository.lock_subscription(session)
    if subscription is None:
        plan = PlanName(tenant.plan)
        price = await price_of(session, plan, None, now)
        subscription, _ = open_subscription(session, plan, price, now, await repository.held(session))
    return subscription


async def _renew(
    session: TenantSession, tenant: TenantRow, subscription: SubscriptionRow, now: datetime
) -> None:
    """Bill each period that has begun by `now`, or end the subscription where that was asked for."""
    while subscription.state != State.CANCELED and subscription.period_end <= now:
        if subscription.cancel_at_period_end:
            await _end(session, tenant, subscription, now)
            return
        await _begin_next(session, tenant, subscription, now)


async def _begin_next(
    session: TenantSession, tenant: TenantRow, subscription: SubscriptionRow, now: datetime
) -> None:
    was_closed = tenant.status_since > subscription.period_end
    anchor = tenant.status_since if was_closed else subscription.anchor_at
    number = 0 if was_closed else subscription.period_number + 1
    await open_period(session, subscription, anchor, number, now)
    await session.flush()


async def _end(
    session: TenantSession, tenant: TenantRow, subscription: SubscriptionRow, now: datetime
) -> None:
    subscription.state = State.CANCELED.value
    subscription.cancel_at_period_end = False
    subscription.next_plan = None
    subscription.version += 1
    await close(session, tenant, CANCELED, now)


async def _follow_up(
    session: TenantSession, tenant: TenantRow, subscription: SubscriptionRow, now: datetime
) -> None:
    late = await repository.overdue(session, now)
    state = standing(subscription, is_overdue=bool(late)).value
    if subscription.state != state:
        subscription.state = state
        subscription.version += 1
    if late:
        await open_alert(session, PAYMENT_OVERDUE)
    # An operator who opens the tenant again all the same is not overruled: only what falls due later counts.
    if any(tenant.status_since < due + GRACE <= now for due in late):
        await close(session, tenant, PAST_DUE, now)
