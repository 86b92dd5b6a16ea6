"""A tenant's password policy, and changing one's own password."""

from datetime import timedelta

import httpx
import pytest

from tests.answers import bearer, eventually, fine, refused
from tests.auth_service.requests import AUTH, USERS, age_counters, audited, me, refresh, set_status, sign_in
from tests.suite import PASSWORD, Suite, TenantHandle, fresh_address

NEW = "Another-Horse-8-Battery"


async def change(suite: Suite, token: str, current: str = PASSWORD, new: str = NEW) -> httpx.Response:
    body = {"currentPassword": current, "newPassword": new}
    async with suite.client_at(fresh_address()) as client:
        return await client.post(f"{AUTH}/password/change", json=body, headers=bearer(token))


async def test_the_policy_is_shown_to_anybody_who_names_the_tenant(suite: Suite) -> None:
    basic, premium = await suite.tenant("basic"), await suite.tenant("premium")
    policy = f"{AUTH}/password-policy"
    shown = fine(await suite.client.get(policy, headers={"X-Tenant-Slug": basic.slug}))
    assert shown == {
        "minLength": 8,
        "requireUppercase": True,
        "requireLowercase": True,
        "requireNumbers": True,
        "requireSpecialChars": False,
        "policyMode": "composition",
    }
    assert fine(await suite.client.get(policy, params={"tenant": premium.slug}))["minLength"] == 10
    refused(await suite.client.get(policy), 400, "tenant_required")
    unknown = {"X-Tenant-Slug": "no-such-tenant"}
    refused(await suite.client.get(policy, headers=unknown), 404, "tenant_not_found")
    hidden = await suite.tenant("custom")
    await set_status(suite, hidden, "suspended", "Abuse")
    answer = await suite.client.get(policy, headers={"X-Tenant-Slug": hidden.slug})
    refused(answer, 404, "tenant_not_found")


async def test_a_change_ends_every_other_session(suite: Suite) -> None:
    """Catalogue 67."""
    tenant = await suite.tenant("custom")
    other = fine(await sign_in(suite, tenant))
    fine(await change(suite, tenant.owner_token), 204)
    fine(await me(suite, tenant.owner_token))
    fine(await refresh(suite, tenant.owner.refresh_token))
    await eventually(
        lambda: suite.client.get(USERS, headers=bearer(other["token"])),
        lambda answer: answer.status_code == 401,
    )
    refused(await refresh(suite, other["refreshToken"]), 401, "token_revoked")
    refused(await sign_in(suite, tenant), 401, "invalid_credentials")
    fine(await sign_in(suite, tenant, password=NEW))
    assert "password.changed" in await audited(suite, tenant)


@pytest.mark.parametrize(
    ("new", "rules"),
    [
        ("short", {"min_length", "require_uppercase", "require_numbers"}),
        ("alllowercaseletters", {"require_uppercase", "require_numbers"}),
        ("ALLUPPERCASE123", {"require_lowercase"}),
        ("", {"min_length", "require_uppercase", "require_lowercase", "require_numbers"}),
        ("Aa1" + "é" * 600, {"max_length"}),
    ],
)
async def test_each_unmet_rule_is_named(suite: Suite, new: str, rules: set[str]) -> None:
    """Catalogue 85."""
    tenant = await suite.tenant()
    document = refused(await change(suite, tenant.owner_token, new=new), 422, "password_policy")
    assert {error["code"] for error in document["errors"]} == rules
    assert {error["field"] for error in document["errors"]} == {"newPassword"}
    fine(await sign_in(suite, tenant))


LONG = {"policyMode": "nist", "minLength": 15}


async def in_nist_mode(suite: Suite) -> TenantHandle:
    """Return a tenant whose owner has chosen length instead of composition."""
    tenant = await suite.tenant(name="Quarterly Lanterns")
    path = f"/api/v1/tenants/{tenant.id}/config"
    body = {"configKey": "security.password_policy", "configValue": LONG}
    fine(await suite.client.post(path, json=body, headers=tenant.auth))
    for service in suite.apps:
        await suite.tenancy(service).feed.poll()
    return tenant


@pytest.mark.parametrize(
    ("new", "rules"),
    [
        ("short", {"min_length", "easily_guessed"}),
        ("passwordpassword", {"easily_guessed"}),
        ("olivia is the very first", {"context_word"}),
        ("nine lanterns in the hall", {"context_word"}),
        ("Passw0rd", {"min_length", "common_password", "easily_guessed"}),
    ],
)
async def test_a_tenant_may_ask_for_length_instead_and_then_refuses_what_is_guessed(
    suite: Suite, new: str, rules: set[str]
) -> None:
    """Catalogue 85."""
    tenant = await in_nist_mode(suite)
    document = refused(await change(suite, tenant.owner_token, new=new), 422, "password_policy")
    assert {error["code"] for error in document["errors"]} == rules
    assert all(error["message"] for error in document["errors"])
    assert new not in str(document)


async def test_in_that_mode_no_kind_of_character_is_asked_for_anywhere(suite: Suite) -> None:
    """Catalogue 83, 85."""
    tenant, phrase = await in_nist_mode(suite), "seven quiet copper kettles"
    shown = fine(await suite.client.get(f"{AUTH}/password-policy", headers={"X-Tenant-Slug": tenant.slug}))
    assert (shown["policyMode"], shown["minLength"]) == ("nist", 15)
    fine(await change(suite, tenant.owner_token, new=phrase), 204)
    fine(await sign_in(suite, tenant, password=phrase))
    new = {"email": f"kim@{tenant.slug}.example", "name": "Kim Kettle", "role": "viewer"}
    tenant_auth = tenant.auth
    answer = await suite.client.post(USERS, json=new | {"password": "Correct-Horse-1"}, headers=tenant_auth)
    fine(answer, 201)
    new["email"] = f"pat@{tenant.slug}.example"
    answer = await suite.client.post(
        USERS, json=new | {"password": "kettles and kettles, all mine"}, headers=tenant_auth
    )
    document = refused(answer, 422, "password_policy")
    assert [error["code"] for error in document["errors"]] == ["context_word"]
    # Sixty-four characters of whatever script are nothing special.
    fine(await change(suite, tenant.owner_token, current=phrase, new="ўзбек тили🙂 " * 5 + "кетл"), 204)


async def test_whoever_has_the_token_alone_cannot_guess_the_password(suite: Suite) -> None:
    tenant = await suite.tenant()
    for _ in range(10):
        refused(await change(suite, tenant.owner_token, current="wrong"), 401, "invalid_credentials")
    refused(await change(suite, tenant.owner_token), 429, "login_throttled")
    await age_counters(suite, timedelta(hours=1))
    assert "password.change_failed" in await audited(suite, tenant)
    fine(await change(suite, tenant.owner_token), 204)


async def test_operators_have_no_password_in_a_tenant(suite: Suite) -> None:
    refused(await change(suite, suite.operator_token), 403, "permission_denied")
    refused(await suite.client.post(f"{AUTH}/password/change", json={}), 401, "authentication_required")
