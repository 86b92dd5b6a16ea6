"""Every statement about subscriptions and invoices."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text

from mis_http.pages import Page
from mis_models.accounts import CountersRow
from mis_models.billing import InvoiceRow, SubscriptionRow
from mis_tenancy.session import PlatformSession, TenantSession
from tenant_service.billing.overage import Held

# Every tenant has its row of counters, from which Citus finds the rest of the tenant on the same node.
_DUE = text("""
select t.id
  from tenant_counters c
  join tenants t on t.id = c.tenant_id
  left join subscriptions s on s.tenant_id = c.tenant_id
 where t.status in ('active', 'maintenance')
   and (s.tenant_id is null
        or (s.state <> 'canceled' and s.period_end <= :now)
        or (s.state in ('trialing', 'active') and exists (
               select from invoices i
                where i.tenant_id = c.tenant_id and i.status = 'open' and i.due_at <= :now))
        or (s.state = 'past_due' and exists (
               select from invoices i where i.tenant_id = c.tenant_id and i.status = 'open'
                  and i.due_at <= cast(:now as timestamptz) - cast(:grace as interval)
                  and i.due_at > t.status_since - cast(:grace as interval))))
 order by s.period_end nulls first, t.id
 limit :most
""")


async def due_tenants(session: PlatformSession, now: datetime, grace: timedelta, most: int) -> list[UUID]:
    """Return tenants whose billing has something to do at `now`, those that waited longest first.

    That is a subscription to open, a period that has ended, an invoice that became overdue, or one that has
    been so for longer than `grace` since the tenant was last opened.
    """
    found = await session.scalars(_DUE, {"now": now, "grace": grace, "most": most})
    return list(found.all())


async def subscription(session: TenantSession) -> SubscriptionRow | None:
    """Return the tenant's subscription."""
    return (await session.scalars(select(SubscriptionRow))).one_or_none()


async def lock_subscription(session: TenantSession) -> SubscriptionRow | None:
    """Return the tenant's subscription, locked, as it is now."""
    locked = select(SubscriptionRow).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(locked)).one_or_none()


async def held(session: TenantSession) -> Held:
    """Return what the tenant holds of what plans limit."""
    counted = select(CountersRow.users + CountersRow.pending_invitations, CountersRow.storage_bytes)
    return Held(*(await session.execute(counted)).one())


async def invoices(session: TenantSession, page: Page) -> Sequence[InvoiceRow]:
    """Return a page of the tenant's invoices, one row longer where there is more."""
    paged = page.apply(select(InvoiceRow), InvoiceRow.id)  # type: ignore[arg-type]  # the mapped column is the column
    return (await session.scalars(paged)).all()


async def invoice(session: TenantSession, invoice_id: UUID) -> InvoiceRow | None:
    """Return one invoice of the tenant's."""
    found = select(InvoiceRow).where(InvoiceRow.id == invoice_id)
    return (await session.scalars(found)).one_or_none()


async def lock_invoice(session: TenantSession, invoice_id: UUID) -> InvoiceRow | None:
    """Return one invoice of the tenant's, locked; the session's role must be the platform's."""
    locked = select(InvoiceRow).where(InvoiceRow.id == invoice_id).with_for_update()
    return (await session.scalars(locked)).one_or_none()


async def overdue(session: TenantSession, now: datetime) -> Sequence[datetime]:
    """Return when each overdue invoice was due, oldest first."""
    late = select(InvoiceRow.due_at).where(InvoiceRow.status == "open", InvoiceRow.due_at <= now)
    return (await session.scalars(late.order_by(InvoiceRow.due_at))).all()


async def owed(session: TenantSession) -> int:
    """Return what the open invoices come to."""
    total = select(func.coalesce(func.sum(InvoiceRow.total), 0)).where(InvoiceRow.status == "open")
    return int((await session.execute(total)).scalar_one())
