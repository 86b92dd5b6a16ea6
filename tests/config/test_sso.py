"""The key `sso.oidc`: typed, always encrypted, and set by owners alone."""

from typing import Any

import httpx
import pytest

from mis_tenancy.configuration import is_unknown
from mis_tenancy.sealed_keys import SEALED, SSO_OIDC
from tests.answers import refused
from tests.suite import Suite, TenantHandle

GOOD: dict[str, Any] = {
    "issuer": "https://login.example.com/realm",
    "clientId": "mis",
    "clientSecret": "a-secret",
}


@pytest.fixture(scope="module")
async def tenant(suite: Suite) -> TenantHandle:
    return await suite.tenant("premium")


async def put(suite: Suite, tenant: TenantHandle, headers: dict[str, str], **changes: Any) -> httpx.Response:
    body = {"configKey": SSO_OIDC, "configValue": GOOD, "isEncrypted": True} | changes
    return await suite.client.post(f"/api/v1/tenants/{tenant.id}/config", json=body, headers=headers)


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        GOOD | {"issuer": "http://localhost:8080"},
        GOOD | {"scopes": ["openid", "email"], "allowedDomains": ["example.com"], "enforce": True},
        GOOD | {"jit": {"enabled": True, "role": "admin"}},
        GOOD | {"jit": {"enabled": False}},
    ],
)
def test_a_provider_that_fits_is_taken(value: Any) -> None:
    assert SEALED[SSO_OIDC](value) is None
    assert not is_unknown(SSO_OIDC)


BAD: list[Any] = [
    *(None, [], "x", {}, {"issuer": "https://x.example"}),
    *(
        GOOD | {"issuer": issuer}
        for issuer in (
            *(
                "",
                "x",
                1,
                "http://login.example.com",
                "https://",
                "https://u:p@x.example",
                "https://x.example?a",
            ),
            *("https://x.example#f", "ftp://x.example", "https://x.example/a b", "javascript:alert(1)"),
            *("https://x.example\\@y", "https://[::1", "http://localhost.evil.example"),
        )
    ),
    *(GOOD | {"clientId": text} for text in ("", 1, "a b", "x" * 3_000, "a\x00")),
    *(GOOD | {"clientSecret": text} for text in ("", None, "a\nb")),
    *(GOOD | {"scopes": scopes} for scopes in ("openid", [], ["email"], ["openid", "a b"], [1])),
    *(GOOD | {"allowedDomains": d} for d in ("example.com", ["Example.com"], ["@x.example"], ["*"], [1])),
    *(GOOD | {"jit": jit} for jit in (True, {}, {"enabled": 1}, {"enabled": True, "role": "owner"})),
    *(GOOD | {"jit": {"enabled": True, "more": 1}}, GOOD | {"enforce": "yes"}, GOOD | {"more": 1}),
]


@pytest.mark.parametrize("value", BAD, ids=str)
def test_a_provider_that_does_not_fit_is_told_what_is_wrong_and_no_secret(value: Any) -> None:
    wrong = SEALED[SSO_OIDC](value)
    assert wrong
    assert "a-secret" not in wrong


async def test_the_owner_sets_it_encrypted_and_nobody_reads_it(suite: Suite, tenant: TenantHandle) -> None:
    refused(await put(suite, tenant, tenant.auth, isEncrypted=False), 422, "config_invalid")
    refused(await put(suite, tenant, tenant.auth, configValue={"issuer": 1}), 422, "config_invalid")
    answer = await put(suite, tenant, tenant.auth)
    assert answer.status_code == 200, answer.text
    assert answer.json()["configValue"] is None
    assert "a-secret" not in answer.text


async def test_neither_admins_nor_operators_decide_who_gets_in(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 97: whoever names the provider can be anybody it vouches for."""
    for _ in range(2):
        assert (await put(suite, tenant, tenant.auth)).status_code == 200
    admin = await suite.user(tenant, "admin")
    visit = {"tenantId": str(tenant.id), "reason": "To look around."}
    visited = await suite.client.post("/api/v1/auth/act-as", json=visit, headers=suite.operator)
    visitor = {"Authorization": f"Bearer {visited.json()['token']}"}
    path = f"/api/v1/tenants/{tenant.id}/config/{SSO_OIDC}"
    for headers, code in (
        (admin.auth, "permission_denied"),
        (visitor, "permission_denied"),
        (suite.operator, "act_as_required"),
    ):
        refused(await put(suite, tenant, headers), 403, code)
        refused(await suite.client.delete(path, headers=headers), 403, code)
        back = await suite.client.post(f"{path}/rollback", json={"version": 1}, headers=headers)
        refused(back, 403, code)
    rolled = await suite.client.post(f"{path}/rollback", json={"version": 1}, headers=tenant.auth)
    assert rolled.status_code == 200, rolled.text
