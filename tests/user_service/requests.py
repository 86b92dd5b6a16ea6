"""Requests to the user routes, and what their tests look up behind them."""

from typing import Any

import httpx
from sqlalchemy import func, select

from mis_models.accounts import CountersRow, UserRow
from mis_tenancy.tables import AuditRow
from tests.suite import Suite, TenantHandle

USERS = "/api/v1/users"


async def create(suite: Suite, tenant: TenantHandle, email: str, **fields: Any) -> dict[str, Any]:
    """Create a user through the API and return the answer's document."""
    body = {"email": email, "name": "Ada Lovelace"} | fields
    answer = await suite.client.post(USERS, json=body, headers=tenant.auth)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def listed(suite: Suite, tenant: TenantHandle, **query: Any) -> list[str]:
    """Return the addresses of one page of the list."""
    answer = await suite.client.get(USERS, params=query, headers=tenant.auth)
    assert answer.status_code == 200, answer.text
    return [user["email"] for user in answer.json()]


async def counted(suite: Suite, tenant: TenantHandle) -> tuple[int, int]:
    """Return how many users the tenant has, as counted and as there are."""
    async with suite.database.transaction(tenant.id) as session:
        users = (await session.scalars(select(CountersRow.users))).one()
        there = (await session.scalars(select(func.count(UserRow.id)))).one()
    return users, there


async def changes_audited(suite: Suite, tenant: TenantHandle) -> list[AuditRow]:
    """Return the tenant's audit rows about users, oldest first."""
    about_users = (AuditRow.kind == "change", AuditRow.action.like("user%"))
    async with suite.database.transaction(tenant.id) as session:
        return list(await session.scalars(select(AuditRow).where(*about_users).order_by(AuditRow.id)))


def code(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and code of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]
