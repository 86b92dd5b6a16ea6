"""The refusals of billing, drawn as a tree.

ProblemError
├── PaymentDeclined 402
├── SubscriptionNotFound 404 · InvoiceNotFound 404
└── InvoiceNotPayable 409 · SubscriptionEnded 409
"""

from mis_tenancy.errors import ProblemError


class PaymentDeclined(ProblemError):
    """The provider could not collect the money."""

    status = 402
    code = "payment_declined"
    detail = "The payment was declined; nothing has changed. Use another means of payment, or try again."


class SubscriptionNotFound(ProblemError):
    """The tenant is older than billing and its subscription is about to be opened."""

    status = 404
    code = "subscription_not_found"
    detail = "This tenant's subscription is being opened, which takes a minute. Ask again then."


class InvoiceNotFound(ProblemError):
    """The tenant has no invoice of that id."""

    status = 404
    code = "invoice_not_found"
    detail = "This tenant has no such invoice. GET …/invoices lists those it has."


class InvoiceNotPayable(ProblemError):
    """The invoice is settled in another way."""

    status = 409
    code = "invoice_not_payable"
    detail = "Only an open invoice can be paid or made void. Its `invoiceStatus` says how it stands."


class SubscriptionEnded(ProblemError):
    """The subscription has ended already."""

    status = 409
    code = "subscription_ended"
    detail = "This subscription has ended, so there is nothing to cancel. Resume it to use the service again."
