"""How invoices are settled: paid through a provider, or made void by an operator.

The provider is the seam to whoever moves money. It is asked inside the transaction that marks the invoice,
with the invoice's id as its key: where that transaction fails, asking again must not collect twice.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from mis_jobs.outbox import EventType, publish
from mis_models.billing import InvoiceRow, SubscriptionRow
from mis_tenancy.gate import PAST_DUE
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.turns import lock_tenant
from tenant_service.alerts.book import resolve_alert
from tenant_service.billing import repository
from tenant_service.billing.access import lift
from tenant_service.billing.errors import InvoiceNotFound, InvoiceNotPayable, SubscriptionNotFound
from tenant_service.billing.issuing import Status, number_of, told
from tenant_service.billing.settlement import settle, withdraw
from tenant_service.billing.subscription import State, standing
from tenant_service.billing.upkeep import PAYMENT_OVERDUE
from tenant_service.trail import Caller


@dataclass(frozen=True, slots=True)
class Demand:
    """What a provider is to collect; `key` is the same however often it is asked for the same invoice.

    `reference` is what the caller knows of the payment, such as the text of a bank transfer.
    """

    key: UUID
    tenant_id: UUID
    number: str
    amount: int
    currency: str
    reference: str | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """How the money came in."""

    through: str
    reference: str | None


class PaymentProvider(Protocol):
    """Collects money."""

    async def collect(self, demand: Demand) -> Receipt:
        """Collect the amount, once per key, and return how; raise PaymentDeclined."""
        ...


class ManualProvider:
    """Money that arrives by itself, such as a bank transfer: an operator who saw it says so."""

    async def collect(self, demand: Demand) -> Receipt:
        """Believe the operator."""
        return Receipt("manual", demand.reference)


class Payments:
    """Settles invoices of the session's tenant; the session is the platform's, bound to it."""

    def __init__(
        self, session: TenantSession, provider: PaymentProvider, caller: Caller, now: datetime
    ) -> None:
        self._session = session
        self._provider = provider
        self._caller = caller
        self._now = now

    async def pay(self, invoice_id: UUID, reference: str | None) -> InvoiceRow:
        """Collect an open invoice and return it paid; one that is paid already stays as it is.

        Raise InvoiceNotFound, InvoiceNotPayable, or what the provider raises.
        """
        tenant, subscription, invoice = await self._locked(invoice_id)
        if invoice.status == Status.PAID:
            return invoice
        _require_open(invoice)
        demand = Demand(
            key=invoice.id,
            tenant_id=tenant.id,
            number=number_of(tenant.id, invoice.number),
            amount=invoice.total,
            currency=invoice.currency,
            reference=reference,
        )
        receipt = await self._provider.collect(demand)
        invoice.status, invoice.paid_at = Status.PAID.value, self._now
        invoice.paid_through, invoice.payment_reference = receipt.through, receipt.reference
        settle(subscription, invoice)
        publish(self._session, EventType.INVOICE_PAID, told(invoice))
        await self._settled("invoice.paid", tenant, subscription, invoice)
        return invoice

    async def void(self, invoice_id: UUID) -> InvoiceRow:
        """Take an open invoice back and return it void; one that is void already stays as it is.

        The credits that it had taken are there for the next one again, and those that were given for what it
        charged are not.
        """
        tenant, subscription, invoice = await self._locked(invoice_id)
        if invoice.status == Status.VOID:
            return invoice
        _require_open(invoice)
        invoice.status, invoice.voided_at = Status.VOID.value, self._now
        withdraw(subscription, invoice)
        await self._settled("invoice.voided", tenant, subscription, invoice)
        return invoice

    async def _locked(self, invoice_id: UUID) -> tuple[TenantRow, SubscriptionRow, InvoiceRow]:
        tenant = await lock_tenant(self._session)
        subscription = await repository.lock_subscription(self._session)
        invoice = await repository.lock_invoice(self._session, invoice_id)
        if invoice is None:
            raise InvoiceNotFound
        if subscription is None:
            raise SubscriptionNotFound
        return tenant, subscription, invoice

    async def _settled(
        self, action: str, tenant: TenantRow, subscription: SubscriptionRow, invoice: InvoiceRow
    ) -> None:
        """Note that the invoice is settled, and lift what only unpaid invoices had brought about."""
        changes: dict[str, Any] = {"invoice_status": {"old": Status.OPEN.value, "new": invoice.status}}
        # What is owed is a part of what the subscription shows.
        subscription.version += 1
        await self._session.flush()
        if subscription.state == State.PAST_DUE and not await repository.overdue(self._session, self._now):
            subscription.state = standing(subscription, is_overdue=False).value
            await resolve_alert(self._session, PAYMENT_OVERDUE.kind, PAYMENT_OVERDUE.subject)
            changes["subscription_state"] = {"old": State.PAST_DUE.value, "new": subscription.state}
            changes |= await lift(self._session, tenant, PAST_DUE, self._now)
        self._caller.record_directly(
            self._session, action, resource=f"invoices/{invoice.id}", changes=changes
        )


def _require_open(invoice: InvoiceRow) -> None:
    if invoice.status != Status.OPEN:
        raise InvoiceNotPayable(invoiceStatus=invoice.status)
