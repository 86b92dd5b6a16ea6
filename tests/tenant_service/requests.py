"""What tests of the tenant service ask for again and again."""

import secrets
from typing import Any
from uuid import UUID

import httpx

from tests.answers import fine
from tests.suite import PASSWORD, Suite, TenantHandle

TENANTS = "/api/v1/tenants"


def fields(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a 422 names, as fields and codes."""
    return [(error["field"], error["code"]) for error in document["errors"]]


def new_slug(prefix: str = "n") -> str:
    """Return a slug that no other test uses."""
    return f"{prefix}-{secrets.token_hex(6)}"


async def create(suite: Suite, **body: Any) -> httpx.Response:
    """Ask, as the operator, for a tenant of `body` over a name and a slug of its own."""
    asked = {"name": "Test", "slug": new_slug()} | body
    return await suite.client.post(f"{TENANTS}/create", json=asked, headers=suite.operator)


async def patch(suite: Suite, tenant: TenantHandle, headers: dict[str, str], **body: Any) -> httpx.Response:
    """Ask for a change of the tenant."""
    return await suite.client.patch(f"{TENANTS}/{tenant.id}", json=body, headers=headers)


async def act_as(suite: Suite, tenant: TenantHandle) -> dict[str, str]:
    """Return the headers of the operator acting inside the tenant."""
    body = {"tenantId": str(tenant.id), "reason": "A test needs it."}
    answer = await suite.client.post("/api/v1/auth/act-as", json=body, headers=suite.operator)
    return {"Authorization": f"Bearer {fine(answer)['token']}"}


async def audit_rows(suite: Suite, tenant_id: UUID, kind: str = "change") -> list[dict[str, Any]]:
    """Return the tenant's audit rows of a kind, newest first, as its operator-made owner would see them."""
    answer = await suite.client.get(
        f"{TENANTS}/{tenant_id}/audit-logs", params={"kind": kind, "limit": 200}, headers=suite.operator
    )
    rows: list[dict[str, Any]] = fine(answer)
    return rows


def an_owner(**more: Any) -> dict[str, Any]:
    """Return an owner with a good password."""
    return {"email": "owner@acme.example", "password": PASSWORD} | more
