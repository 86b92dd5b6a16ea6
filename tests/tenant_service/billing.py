"""What tests of billing ask for again and again, and how they let time pass."""

from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from mis_models.billing import InvoiceRow, SubscriptionRow
from mis_models.work import OutboxRow
from tenant_service.billing.upkeep import bring_up
from tenant_service.plan_migration.period_end import ScheduledMigrations
from tests.answers import fine
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS


async def billing_of(suite: Suite, tenant: TenantHandle) -> dict[str, Any]:
    """Return the tenant's billing as its owner sees it."""
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/billing", headers=suite.operator)
    document: dict[str, Any] = fine(answer)
    return document


async def invoices_of(suite: Suite, tenant: TenantHandle) -> list[dict[str, Any]]:
    """Return the tenant's invoices, newest first."""
    path = f"{TENANTS}/{tenant.id}/invoices"
    invoices: list[dict[str, Any]] = fine(
        await suite.client.get(path, params={"limit": 200}, headers=suite.operator)
    )
    for invoice in invoices:
        assert invoice["total"] == sum(line["amount"] for line in invoice["lines"])
        assert all(line["amount"] == line["quantity"] * line["unitAmount"] for line in invoice["lines"])
    return invoices


async def settle(suite: Suite, tenant: TenantHandle, invoice_id: str, how: str = "pay") -> dict[str, Any]:
    """Pay an invoice, or make it void, as the operator; every service knows when this returns."""
    path = f"{TENANTS}/{tenant.id}/invoices/{invoice_id}/{how}"
    document: dict[str, Any] = fine(await suite.client.post(path, headers=suite.operator))
    await hear(suite)
    return document


async def let_pass(suite: Suite, tenant: TenantHandle, now: datetime) -> None:
    """Do what the worker does for the tenant when it is `now`; every service knows when this returns."""
    async with suite.database.transaction(tenant.id) as session:
        await bring_up(session, now, ScheduledMigrations(suite.database))
    await hear(suite)


async def hear(suite: Suite) -> None:
    """Let every service read the news."""
    for service in suite.apps:
        await suite.tenancy(service).feed.poll()


async def subscription_of(suite: Suite, tenant: TenantHandle) -> SubscriptionRow:
    """Return the tenant's subscription as it is stored."""
    async with suite.database.transaction(tenant.id) as session:
        return (await session.scalars(select(SubscriptionRow))).one()


async def set_subscription(suite: Suite, tenant: TenantHandle, **columns: Any) -> None:
    """Put the tenant's subscription where a test needs it to be."""
    async with suite.database.transaction(tenant.id) as session:
        await session.execute(update(SubscriptionRow).values(**columns))


async def invoice_rows(suite: Suite, tenant: TenantHandle) -> list[InvoiceRow]:
    """Return the tenant's invoices as they are stored, oldest first."""
    async with suite.database.transaction(tenant.id) as session:
        return list(await session.scalars(select(InvoiceRow).order_by(InvoiceRow.number)))


async def events_of(suite: Suite, tenant: TenantHandle, prefix: str = "invoice.") -> list[str]:
    """Return the types of the tenant's events that wait in the outbox, oldest first."""
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        own = select(OutboxRow.type).where(OutboxRow.tenant_id == tenant.id).order_by(OutboxRow.id)
        return [kind for kind in await session.scalars(own) if kind.startswith(prefix)]
