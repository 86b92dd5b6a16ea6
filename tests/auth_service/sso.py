"""Tenants that sign their people in at a provider, and people whom it knows."""

import secrets
from typing import Any

import httpx

from tests.answers import fine
from tests.auth_service.openid_provider import Provider
from tests.suite import Suite, TenantHandle


async def configure(suite: Suite, tenant: TenantHandle, value: Any, **headers: str) -> httpx.Response:
    body = {"configKey": "sso.oidc", "configValue": value, "isEncrypted": True}
    path = f"/api/v1/tenants/{tenant.id}/config"
    return await suite.client.post(path, json=body, headers=tenant.auth | headers)


async def tenant_with(suite: Suite, provider: Provider, **changes: Any) -> TenantHandle:
    """Return a tenant that signs its people in at the provider."""
    tenant = await suite.tenant("premium")
    domains = {"allowedDomains": [f"{tenant.slug}.example"]}
    fine(await configure(suite, tenant, provider.config(**(domains | changes))))
    return tenant


def person_of(tenant: TenantHandle, **claims: Any) -> dict[str, Any]:
    """Return somebody whom the provider knows, with a proven address at the tenant's domain."""
    unique = secrets.token_hex(4)
    email = f"p-{unique}@{tenant.slug}.example"
    return {
        "sub": f"subject-{unique}",
        "email": email,
        "email_verified": True,
        "name": "Petra Person",
    } | claims
