"""Billing on the wire; every amount is whole US cents."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, StrictInt, StringConstraints

from mis_http.schemas import Moment, RequestBody, ResponseBody, Text
from mis_models.billing import InvoiceRow
from mis_tenancy.plans import PlanName
from tenant_service.billing.amounts import CURRENCY
from tenant_service.billing.issuing import Status, number_of
from tenant_service.billing.service import Account, Draft
from tenant_service.billing.subscription import State, credits_of


class LineOut(ResponseBody):
    """One line: `amount` is `quantity` times `unitAmount`."""

    description: str
    quantity: int
    unit_amount: int
    amount: int


class DraftOut(ResponseBody):
    """The next invoice, if nothing changes until then."""

    status: Status = Status.DRAFT
    period_start: Moment
    period_end: Moment
    due_at: Moment
    lines: list[LineOut]
    total: int
    currency: str = CURRENCY

    @classmethod
    def of(cls, draft: Draft) -> Self:
        """Return the draft as it is shown."""
        return cls(
            period_start=draft.period.start,
            period_end=draft.period.end,
            due_at=draft.due_at,
            lines=[LineOut.model_validate(line.stored()) for line in draft.bill.lines],
            total=draft.bill.total,
        )


class InvoiceOut(ResponseBody):
    """An invoice; the amounts of its lines add up to `total`."""

    id: UUID
    number: str
    status: Status
    period_start: Moment
    period_end: Moment
    issued_at: Moment
    due_at: Moment
    paid_at: Moment | None
    paid_through: str | None
    payment_reference: str | None
    voided_at: Moment | None
    lines: list[LineOut]
    total: int
    currency: str

    @classmethod
    def of(cls, row: InvoiceRow) -> Self:
        """Return the invoice as it is shown."""
        columns: dict[str, Any] = {name: getattr(row, name) for name in cls.model_fields}
        lines = [LineOut.model_validate(line) for line in row.lines]
        return cls(**(columns | {"number": number_of(row.tenant_id, row.number), "lines": lines}))


class CreditOut(ResponseBody):
    """What coming invoices take off; a negative amount is what the next one adds."""

    description: str
    amount: int


class BillingOut(ResponseBody):
    """A subscription.

    `price` is what the running period costs, null while a contract has no price, and `overage` what a month
    of it costs beside that for what is held above the plan's limits. `owed` is what the open invoices come
    to, `credit` what coming ones take off or, where negative, add, `scheduledPlan` the plan from the next
    period on.
    """

    tenant_id: UUID
    state: State
    plan: PlanName
    price: int | None
    overage: int
    contract_price: int | None
    currency: str = CURRENCY
    interval: str = "month"
    current_period_start: Moment
    current_period_end: Moment
    cancel_at_period_end: bool
    scheduled_plan: PlanName | None
    owed: int
    credit: int
    credits: list[CreditOut]
    next_invoice: DraftOut | None

    @classmethod
    def of(cls, account: Account) -> Self:
        """Return the subscription as it is shown."""
        row, credits = account.subscription, credits_of(account.subscription)
        return cls(
            tenant_id=row.tenant_id,
            state=State(row.state),
            plan=PlanName(row.plan),
            price=row.price,
            overage=row.overage,
            contract_price=row.contract_price,
            current_period_start=row.period_start,
            current_period_end=row.period_end,
            cancel_at_period_end=row.cancel_at_period_end,
            scheduled_plan=None if row.next_plan is None else PlanName(row.next_plan),
            owed=account.owed,
            credit=sum(credit.amount for credit in credits),
            credits=[CreditOut(description=one.description, amount=one.amount) for one in credits],
            next_invoice=None if account.draft is None else DraftOut.of(account.draft),
        )


class AgreementIn(RequestBody):
    """What the custom plan costs this tenant."""

    contract_price: StrictInt = Field(ge=0, le=10**12, description="US cents a month on the custom plan.")


class PaymentIn(RequestBody):
    """How the money came in."""

    reference: Annotated[Text, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="Such as the text or number of a bank transfer."
    )
