"""What members see and decide of their billing, and what operators agree with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from mis_http.pages import Page
from mis_models.billing import InvoiceRow, SubscriptionRow
from mis_tenancy.plans import PlanName
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from tenant_service.billing import repository
from tenant_service.billing.access import CANCELED, lift
from tenant_service.billing.amounts import Bill, bill
from tenant_service.billing.changes import carry_out
from tenant_service.billing.errors import InvoiceNotFound, SubscriptionEnded, SubscriptionNotFound
from tenant_service.billing.issuing import DUE_AFTER
from tenant_service.billing.opening import open_period
from tenant_service.billing.periods import Period
from tenant_service.billing.proration import Stay
from tenant_service.billing.subscription import (
    State,
    charges,
    credits_of,
    next_period,
    price_of,
    standing,
)
from tenant_service.billing.upkeep import current
from tenant_service.trail import Caller


@dataclass(frozen=True, slots=True)
class Draft:
    """The next invoice as it would be issued if nothing changed."""

    period: Period
    bill: Bill

    @property
    def due_at(self) -> datetime:
        """When it would have to be paid."""
        return self.period.start + DUE_AFTER


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant's billing: its subscription, what it owes, and what comes next."""

    subscription: SubscriptionRow
    owed: int
    draft: Draft | None


class Billing:
    """The billing of the session's tenant, as `caller` sees and changes it at `now`.

    The session is the platform's for operators, whose changes are in the platform's log too.
    """

    def __init__(self, session: TenantSession, caller: Caller, now: datetime) -> None:
        self._session = session
        self._caller = caller
        self._now = now

    async def account(self) -> Account:
        """Return the tenant's billing; raise SubscriptionNotFound."""
        subscription = await repository.subscription(self._session)
        if subscription is None:
            raise SubscriptionNotFound
        return await self._account(subscription)

    async def invoices(self, page: Page) -> Sequence[InvoiceRow]:
        """Return a page of invoices, and one more where there is more."""
        return await repository.invoices(self._session, page)

    async def invoice(self, invoice_id: UUID) -> InvoiceRow:
        """Return one invoice; raise InvoiceNotFound."""
        invoice = await repository.invoice(self._session, invoice_id)
        if invoice is None:
            raise InvoiceNotFound
        return invoice

    async def cancel(self) -> Account:
        """End the subscription with the running period; raise SubscriptionEnded where it has ended."""
        _, subscription = await current(self._session, self._now)
        if subscription.state == State.CANCELED:
            raise SubscriptionEnded
        if not subscription.cancel_at_period_end:
            self._mark(subscription, "billing.canceled", ends=True)
        return await self._account(subscription)

    async def resume(self) -> Account:
        """Take a cancellation back; a subscription that has ended begins anew, with an invoice.

        A tenant that was closed because its subscription ended is open again.
        """
        tenant, subscription = await current(self._session, self._now)
        if subscription.state == State.CANCELED:
            changes = await self._restart(tenant, subscription)
            self._record("billing.resumed", changes)
        elif subscription.cancel_at_period_end:
            self._mark(subscription, "billing.resumed", ends=False)
        return await self._account(subscription)

    async def agree(self, price: int, hold: Callable[[int], None]) -> Account:
        """Set what the custom plan costs this tenant; `hold` raises where another version was expected.

        Where its contract had no price it holds at once; otherwise for periods that start later.
        """
        _, subscription = await current(self._session, self._now)
        hold(subscription.version)
        before, subscription.contract_price = subscription.contract_price, price
        subscription.version += 1
        if subscription.price is None:
            carry_out(self._session, subscription, Stay(subscription.plan, price), self._now)
        self._record("billing.agreed", {"contract_price": {"old": before, "new": price}})
        return await self._account(subscription)

    async def _account(self, subscription: SubscriptionRow) -> Account:
        return Account(subscription, await repository.owed(self._session), await self._draft(subscription))

    async def _draft(self, subscription: SubscriptionRow) -> Draft | None:
        if subscription.state == State.CANCELED or subscription.cancel_at_period_end:
            return None
        period = next_period(subscription)
        plan = PlanName(subscription.next_plan or subscription.plan)
        price = await price_of(self._session, plan, subscription.contract_price, period.start)
        lines = charges(plan, price, period, await repository.held(self._session))
        return Draft(period, bill(lines, credits_of(subscription)))

    async def _restart(self, tenant: TenantRow, subscription: SubscriptionRow) -> dict[str, Any]:
        now = self._now
        await open_period(self._session, subscription, now, 0, now)
        is_overdue = bool(await repository.overdue(self._session, now))
        subscription.state = standing(subscription, is_overdue=is_overdue).value
        changes = {"state": {"old": State.CANCELED.value, "new": subscription.state}}
        return changes | await lift(self._session, tenant, CANCELED, now)

    def _mark(self, subscription: SubscriptionRow, action: str, *, ends: bool) -> None:
        subscription.cancel_at_period_end = ends
        subscription.version += 1
        self._record(action, {"cancel_at_period_end": {"old": not ends, "new": ends}})

    def _record(self, action: str, changes: dict[str, Any]) -> None:
        self._caller.record_directly(self._session, action, resource="billing", changes=changes)
