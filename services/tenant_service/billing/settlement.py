"""What it means to a subscription that an invoice is settled: once paid it stays; void, it was never owed."""

from mis_models.billing import InvoiceRow, SubscriptionRow
from tenant_service.billing.amounts import credits_in, taken_back
from tenant_service.billing.covers import Cover, returned_of, settled, voided
from tenant_service.billing.issuing import number_of
from tenant_service.billing.subscription import credits_of


def settle(subscription: SubscriptionRow, invoice: InvoiceRow) -> None:
    """Note that the invoice is paid and cannot become void any more."""
    covers = settled(Cover.loaded(subscription.covers), invoice.number)
    subscription.covers = [cover.stored() for cover in covers]


def withdraw(subscription: SubscriptionRow, invoice: InvoiceRow) -> None:
    """Set the credits and covers to what they are without the invoice.

    The credits that it had taken are there for the next one again. What changes have given back of its
    charges is no credit any more; where other invoices have taken that off, the next one asks for it.
    """
    covers = Cover.loaded(subscription.covers)
    credits = [*credits_in(invoice.lines), *credits_of(subscription)]
    why = f"Credit taken back, because invoice {number_of(invoice.tenant_id, invoice.number)} is void"
    left = taken_back(credits, returned_of(covers, invoice.number), why)
    subscription.credits = [credit.stored() for credit in left]
    subscription.covers = [cover.stored() for cover in voided(covers, invoice.number)]
