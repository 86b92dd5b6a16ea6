"""How an invoice comes to be: numbered without gaps, less the credits, with the event that tells of it.

The subscription's row must be locked, or new: it hands out the numbers and holds the credits.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from mis_jobs.outbox import EventType, publish
from mis_models.billing import InvoiceRow, SubscriptionRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession, tenant_of
from tenant_service.billing.amounts import CURRENCY, Line, bill
from tenant_service.billing.periods import Period
from tenant_service.billing.subscription import credits_of

DUE_AFTER: Final = timedelta(days=14)


class Kind(StrEnum):
    """Why an invoice was issued."""

    PERIOD = "period"
    CHANGE = "change"


class Status(StrEnum):
    """How an invoice stands; the coming one, not issued yet, is a draft."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"


def issue(
    session: TenantSession,
    subscription: SubscriptionRow,
    kind: Kind,
    period: Period,
    charges: Sequence[Line],
    now: datetime,
) -> InvoiceRow:
    """Add the invoice for `charges` to the session; one that comes to nothing is paid at once."""
    asked = bill(charges, credits_of(subscription))
    is_settled = asked.total == 0
    invoice = InvoiceRow(
        tenant_id=tenant_of(session),
        id=new_id(),
        number=subscription.next_invoice,
        kind=kind.value,
        status=(Status.PAID if is_settled else Status.OPEN).value,
        period_start=period.start,
        period_end=period.end,
        lines=[line.stored() for line in asked.lines],
        total=asked.total,
        currency=CURRENCY,
        issued_at=now,
        due_at=now + DUE_AFTER,
        paid_at=now if is_settled else None,
    )
    session.add(invoice)
    subscription.next_invoice += 1
    subscription.credits = [credit.stored() for credit in asked.credits]
    subscription.version += 1
    publish(session, EventType.INVOICE_ISSUED, told(invoice))
    if is_settled:
        publish(session, EventType.INVOICE_PAID, told(invoice))
    return invoice


def told(invoice: InvoiceRow) -> dict[str, Any]:
    """Return what an event says of an invoice."""
    return {
        "invoiceId": str(invoice.id),
        "number": number_of(invoice.tenant_id, invoice.number),
        "status": invoice.status,
        "total": invoice.total,
        "currency": invoice.currency,
        "dueAt": invoice.due_at.isoformat().replace("+00:00", "Z"),
    }


def number_of(tenant_id: UUID, number: int) -> str:
    """Return an invoice's number as people know it: the end of the tenant's id, then the count."""
    return f"INV-{tenant_id.hex[-8:].upper()}-{number:04d}"
