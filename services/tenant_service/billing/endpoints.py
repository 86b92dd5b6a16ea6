"""`/api/v1/tenants/{id}/billing` and `…/invoices`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import HTMLResponse

from mis_http.etags import IfMatch, PreconditionFailed, etag
from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_tenancy.access import Permission
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied, TenantConflict, TenantNotFound
from mis_tenancy.fastapi import requires
from mis_tenancy.slugs import parse_id
from tenant_service.billing import page
from tenant_service.billing.errors import (
    InvoiceNotFound,
    InvoiceNotPayable,
    PaymentDeclined,
    SubscriptionEnded,
    SubscriptionNotFound,
)
from tenant_service.billing.payments import Payments
from tenant_service.billing.schemas import AgreementIn, BillingOut, InvoiceOut, PaymentIn
from tenant_service.billing.service import Billing
from tenant_service.sessions import CallersSession, GoverningSession
from tenant_service.target import Target
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants", tags=["billing"], route_class=IdempotentRoute)

HTML: Final = "text/html"
_READS = [requires(Permission.BILLING_READ)]
_WRITES = [requires(Permission.BILLING_WRITE)]
_CLOSED = (AuthenticationRequired, PermissionDenied, TenantNotFound, TenantConflict)
_SETTLING = (*_CLOSED, InvoiceNotFound, InvoiceNotPayable)
_PAGES: Final[dict[int | str, dict[str, Any]]] = {200: {"model": InvoiceOut, "content": {HTML: {}}}}


async def billing(session: CallersSession, caller: Calling) -> Billing:
    """Return the billing of the tenant the path names."""
    return Billing(session, caller, datetime.now(UTC))


async def governing(session: GoverningSession, caller: Calling) -> Billing:
    """Return the billing of the tenant the path names, for operators."""
    return Billing(session, caller, datetime.now(UTC))


async def paying(request: Request, session: GoverningSession, caller: Calling) -> Payments:
    """Return what settles invoices of the tenant the path names, for operators."""
    return Payments(session, request.app.state.payment_provider, caller, datetime.now(UTC))


async def named_invoice(named: Annotated[str, Path(alias="invoice_id", max_length=64)]) -> UUID:
    """Return the id the path names; raise InvoiceNotFound for what cannot be one."""
    invoice_id = parse_id(named)
    if invoice_id is None:
        raise InvoiceNotFound
    return invoice_id


Bills = Annotated[Billing, Depends(billing)]
Governed = Annotated[Billing, Depends(governing)]
Paying = Annotated[Payments, Depends(paying)]
Named = Annotated[UUID, Depends(named_invoice)]


@router.get("/{id}/billing", dependencies=_READS, responses=problems(*_CLOSED, SubscriptionNotFound))
async def get_billing(billing: Bills, response: Response) -> BillingOut:
    """Show the subscription, what is owed, and the next invoice as it would be now."""
    account = await billing.account()
    response.headers["ETag"] = etag(account.subscription.version)
    return BillingOut.of(account)


@router.patch("/{id}/billing", responses=problems(*_CLOSED, PreconditionFailed))
async def agree_price(
    body: AgreementIn, billing: Governed, if_match: IfMatch, response: Response
) -> BillingOut:
    """Set what the custom plan costs this tenant; for operators."""
    account = await billing.agree(body.contract_price, if_match.hold)
    response.headers["ETag"] = etag(account.subscription.version)
    return BillingOut.of(account)


@router.post("/{id}/billing/cancel", dependencies=_WRITES, responses=problems(*_CLOSED, SubscriptionEnded))
async def cancel_subscription(billing: Bills) -> BillingOut:
    """End the subscription with the running period."""
    return BillingOut.of(await billing.cancel())


@router.post("/{id}/billing/resume", dependencies=_WRITES, responses=problems(*_CLOSED))
async def resume_subscription(billing: Bills) -> BillingOut:
    """Take a cancellation back, or begin anew where the subscription has ended."""
    return BillingOut.of(await billing.resume())


@router.get("/{id}/invoices", dependencies=_READS, responses=problems(*_CLOSED))
async def list_invoices(
    billing: Bills, asked: Paged, request: Request, response: Response
) -> list[InvoiceOut]:
    """List invoices, newest first."""
    rows = await billing.invoices(asked)
    return [InvoiceOut.of(row) for row in cut(rows, asked, [row.id for row in rows], request, response)]


@router.get(
    "/{id}/invoices/{invoice_id}",
    dependencies=_READS,
    response_model=InvoiceOut,
    responses=problems(*_CLOSED, InvoiceNotFound) | _PAGES,
)
async def get_invoice(
    invoice_id: Named, billing: Bills, target: Target, request: Request, response: Response
) -> Any:
    """Show one invoice, as JSON or, by `Accept: text/html`, as a page to print."""
    row = await billing.invoice(invoice_id)
    if HTML in request.headers.get("accept", ""):
        return HTMLResponse(page.page_of(InvoiceOut.of(row), target.name), headers=page.HEADERS)
    # Nothing of an invoice changes but its status.
    response.headers["ETag"] = etag(f"{row.number}-{row.status}")
    return InvoiceOut.of(row)


@router.post("/{id}/invoices/{invoice_id}/pay", responses=problems(*_SETTLING, PaymentDeclined))
async def pay_invoice(invoice_id: Named, payments: Paying, body: PaymentIn | None = None) -> InvoiceOut:
    """Settle an open invoice through the payment provider; for operators."""
    return InvoiceOut.of(await payments.pay(invoice_id, None if body is None else body.reference))


@router.post("/{id}/invoices/{invoice_id}/void", responses=problems(*_SETTLING))
async def void_invoice(invoice_id: Named, payments: Paying) -> InvoiceOut:
    """Take an open invoice back; for operators."""
    return InvoiceOut.of(await payments.void(invoice_id))
