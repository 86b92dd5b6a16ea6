"""Programs of a tenant: making their keys, and asking with them."""

from typing import Any

import httpx

from tests.suite import Suite, TenantHandle, UserHandle, fresh_address

KEYS = "/api/v1/auth/api-keys"


async def add_api_key(
    suite: Suite,
    tenant: TenantHandle,
    *scopes: str,
    by: UserHandle | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Make a key with `scopes`, by the owner unless `by` says otherwise, and return the answer's body."""
    body = {"name": "A program", "scopes": list(scopes or ("users:read",))} | fields
    answer = await suite.client.post(KEYS, json=body, headers=(by or tenant.owner).auth)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ask(
    suite: Suite, key: str, path: str = "/api/v1/users", method: str = "GET", **options: Any
) -> httpx.Response:
    """Send a request with the key as its bearer, from an address of its own."""
    headers = {"Authorization": f"Bearer {key}"} | options.pop("headers", {})
    base = options.pop("base_url", "http://testserver")
    async with suite.client_at(fresh_address(), base) as client:
        return await client.request(method, path, headers=headers, **options)
