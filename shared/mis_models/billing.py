"""What a tenant pays for and owes: its one subscription, and its invoices."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, Index, Integer, PrimaryKeyConstraint, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped, one_of

_PLANS = ("basic", "premium", "enterprise", "custom")


class SubscriptionRow(TenantScoped, Base):
    """A tenant's standing with us; money is whole US cents.

    `price` is what the running period costs (null while a contract has none yet), `overage` what a month of
    it costs beside that for what is held above the plan, `contract_price` what the custom plan costs from the
    next period on. Period `period_number` is the month that begins so many months after `anchor_at`.
    `credits` is what coming invoices take off, the oldest first: `{description, amount}`; a negative one is
    what the next invoice adds.
    `covers` is which invoices pay for the running period, the oldest first: `{invoice, rate, left, returned,
    void}`; where its rates are not what a month costs, a version that knew none has changed the rest.
    `next_plan` is the plan that a migration has scheduled for the period's end.
    """

    __tablename__ = "subscriptions"

    state: Mapped[str]
    plan: Mapped[str]
    price: Mapped[int | None]
    overage: Mapped[int] = mapped_column(server_default=text("0"))
    contract_price: Mapped[int | None]
    anchor_at: Mapped[datetime]
    period_number: Mapped[int] = mapped_column(Integer)
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    cancel_at_period_end: Mapped[bool] = mapped_column(Boolean)
    next_plan: Mapped[str | None]
    credits: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    covers: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    next_invoice: Mapped[int]
    version: Mapped[int]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id"),
        one_of("state", "trialing", "active", "past_due", "canceled"),
        one_of("plan", *_PLANS),
        one_of("next_plan", *_PLANS),
        CheckConstraint("price >= 0 and contract_price >= 0", name="not_negative"),
        CheckConstraint("overage >= 0", name="overage"),
        CheckConstraint("period_start <= period_end", name="period"),
    )


class InvoiceRow(TenantScoped, Base):
    """An invoice as it was issued; only its status changes, when it is paid or void.

    `lines` are `{description, quantity, unitAmount, amount}` and add up to `total`; one that takes a credit
    back is marked `takesBack`. `kind` is `period` for the one invoice of a period, `change` for what a change
    within it cost.
    """

    __tablename__ = "invoices"

    id: Mapped[UUID]
    number: Mapped[int]
    kind: Mapped[str]
    status: Mapped[str]
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    total: Mapped[int]
    currency: Mapped[str]
    issued_at: Mapped[datetime]
    due_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    paid_through: Mapped[str | None]
    payment_reference: Mapped[str | None]
    voided_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "number"),
        one_of("kind", "period", "change"),
        one_of("status", "open", "paid", "void"),
        CheckConstraint("total >= 0", name="not_negative"),
        # However often the renewal of a period is tried, it is billed once.
        Index(
            "uq_invoices_period",
            "tenant_id",
            "period_start",
            unique=True,
            postgresql_where=text("kind = 'period'"),
        ),
        Index("ix_invoices_open", "tenant_id", "due_at", postgresql_where=text("status = 'open'")),
    )
