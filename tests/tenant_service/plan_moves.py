"""What tests of plan migrations ask for again and again."""

from typing import Any

import httpx
from sqlalchemy import update

from mis_models.accounts import CountersRow
from tests.answers import fine
from tests.suite import Suite, TenantHandle
from tests.tenant_service.billing import invoices_of, let_pass, settle, subscription_of
from tests.tenant_service.requests import TENANTS

USERS = "/api/v1/users"


async def migrate(
    suite: Suite, tenant: TenantHandle, plan: str, headers: Any = None, query: str = "", **options: Any
) -> httpx.Response:
    """Ask for a change of plan, as the owner."""
    body = {"targetPlan": plan} | ({"migrationOptions": options} if options else {})
    path = f"{TENANTS}/{tenant.id}/migrate{query}"
    return await suite.client.post(path, json=body, headers=headers or tenant.auth)


async def migrations_of(suite: Suite, tenant: TenantHandle) -> list[dict[str, Any]]:
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/migrations", headers=suite.operator)
    migrations: list[dict[str, Any]] = fine(answer)
    return migrations


async def document_of(suite: Suite, tenant: TenantHandle) -> dict[str, Any]:
    document: dict[str, Any] = fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=suite.operator))
    return document


async def let_the_period_end(suite: Suite, tenant: TenantHandle) -> None:
    """Pay what is owed, and let the worker come when the period has ended."""
    for invoice in await invoices_of(suite, tenant):
        await settle(suite, tenant, invoice["id"])
    await let_pass(suite, tenant, (await subscription_of(suite, tenant)).period_end)


async def hold(suite: Suite, tenant: TenantHandle, **counted: int) -> None:
    """Let the tenant hold so many users or bytes."""
    async with suite.database.transaction(tenant.id) as session:
        await session.execute(update(CountersRow).values(**counted))


async def configure(suite: Suite, tenant: TenantHandle, key: str, value: Any, headers: Any = None) -> None:
    body = {"configKey": key, "configValue": value}
    path = f"{TENANTS}/{tenant.id}/config"
    fine(await suite.client.post(path, json=body, headers=headers or tenant.auth))
