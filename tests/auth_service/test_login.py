"""Signing in: by any source, with one answer for every kind of wrong, and into tenants that are ending."""

import unicodedata
from typing import Any
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from mis_models.accounts import SessionRow, UserRow
from mis_tenancy.access import RESTRICTED_PERMISSIONS
from mis_tenancy.origins.rows import origins_of
from tests.answers import bearer, fine, refused
from tests.auth_service.requests import (
    AUTH,
    USERS,
    alter,
    audited,
    authority_of,
    claims,
    logout,
    me,
    security_events,
    set_status,
    sign_in,
)
from tests.suite import PASSWORD, Suite, TenantHandle, fresh_address

LOGIN = f"{AUTH}/login"


def named_by(source: str, tenant: TenantHandle) -> dict[str, Any]:
    """Return the request's options that name the tenant by `source`."""
    return {
        "id header": {"headers": {"X-Tenant-ID": str(tenant.id)}},
        "slug header": {"headers": {"X-Tenant-Slug": tenant.slug}},
        "subdomain": {"headers": {"Host": f"{tenant.slug}.mis.local"}},
        "query slug": {"params": {"tenant": tenant.slug}},
        "query id": {"params": {"tenant": str(tenant.id)}},
    }[source]


@pytest.mark.parametrize("source", ["id header", "slug header", "subdomain", "query slug", "query id"])
async def test_any_source_names_the_tenant(suite: Suite, source: str) -> None:
    tenant = await suite.tenant()
    body = {"email": tenant.owner_email, "password": PASSWORD}
    answer = fine(await suite.post_anonymously(LOGIN, body, **named_by(source, tenant)))
    assert answer["tenant"] == {"id": str(tenant.id), "slug": tenant.slug, "name": f"Tenant {tenant.slug}"}


async def test_the_answer_is_the_contracts(suite: Suite) -> None:
    tenant = await suite.tenant()
    answer = await sign_in(suite, tenant, email=f" {tenant.owner_email.upper()} ")
    document = fine(answer)
    assert document.keys() == {
        *("success", "token", "tokenType", "expiresIn", "refreshToken", "tenant", "user")
    }
    assert (document["success"], document["tokenType"], document["expiresIn"]) == (True, "Bearer", 900)
    assert document["user"] == {
        "id": str(tenant.owner.id),
        "email": tenant.owner_email,
        "name": "Olivia Owner",
        "role": "owner",
    }
    assert answer.headers["cache-control"] == "no-store"
    found = claims(document["token"])
    assert (found["tenantId"], found["tenantSlug"]) == (str(tenant.id), tenant.slug)
    assert (found["sub"], found["role"], found["ver"]) == (str(tenant.owner.id), "owner", [0, 0])
    assert found["exp"] - found["iat"] == 900
    assert fine(await me(suite, document["token"]))["user"]["email"] == tenant.owner_email


async def test_the_token_never_outlives_the_tenants_session_timeout(suite: Suite) -> None:
    tenant = await suite.tenant()
    body = {"configKey": "session.timeout", "configValue": 300, "isEncrypted": False}
    answer = await suite.client.post(f"/api/v1/tenants/{tenant.id}/config", json=body, headers=tenant.auth)
    assert answer.status_code in (200, 201), answer.text
    await authority_of(suite).tenancy.feed.poll()
    document = fine(await sign_in(suite, tenant))
    found = claims(document["token"])
    assert document["expiresIn"] == found["exp"] - found["iat"] == 300


async def test_every_kind_of_wrong_gets_one_answer_after_one_password_hash(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 79."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    disabled, invited = await suite.user(tenant), await suite.user(tenant)
    await alter(suite, tenant, update(UserRow).where(UserRow.id == disabled.id).values(status="disabled"))
    await alter(suite, tenant, update(UserRow).where(UserRow.id == invited.id).values(status="invited"))
    suspended = await suite.tenant("custom")
    await set_status(suite, suspended, "suspended", "Abuse")
    passwords, verified = authority_of(suite).passwords, []
    verify = passwords.verify

    async def counted(encoded: str | None, password: str) -> bool:
        verified.append(encoded)
        return await verify(encoded, password)

    monkeypatch.setattr(passwords, "verify", counted)
    wrong = {
        "password": (tenant.slug, tenant.owner_email, "Wrong-Horse-7-Battery"),
        "address": (tenant.slug, "nobody@nowhere.example", PASSWORD),
        "no address": (tenant.slug, "not an address", PASSWORD),
        "tenant": ("no-such-tenant", tenant.owner_email, PASSWORD),
        "other tenant": (other.slug, tenant.owner_email, PASSWORD),
        "disabled": (tenant.slug, disabled.email, PASSWORD),
        "invited": (tenant.slug, invited.email, PASSWORD),
        "suspended": (suspended.slug, suspended.owner_email, "Wrong-Horse-7-Battery"),
    }
    answers = {}
    for kind, (slug, email, password) in wrong.items():
        body = {"tenantSlug": slug, "email": email, "password": password}
        answer = await suite.post_anonymously(LOGIN, body)
        document = refused(answer, 401, "invalid_credentials")
        document.pop("requestId")
        answer.headers.pop("x-request-id")
        answer.headers.pop("content-length")
        answers[kind] = (document, sorted(answer.headers.items()))
    assert all(answer == answers["password"] for answer in answers.values()), answers
    assert len(verified) == len(wrong)
    # Each is counted and leaves its trace, the accounts that may not sign in like those that are not there.
    actions = await audited(suite, tenant)
    assert actions.count("login.failed") == 5


async def test_a_failure_leaves_a_trace_that_names_no_address(suite: Suite) -> None:
    """Catalogue 128: what a refusal must leave behind survives it."""
    tenant = await suite.tenant()
    refused(await sign_in(suite, tenant, password="wrong", address="10.98.0.1"), 401, "invalid_credentials")
    *_, event = await security_events(suite, tenant)
    assert (event.action, event.outcome) == ("login.failed", "refused")
    async with suite.database.transaction(tenant.id) as session:
        assert (await origins_of(session, [event]))[event.id].ip == "10.98.0.1"
    assert (event.actor, event.resource) == (None, f"user:{tenant.owner.id}")
    assert (await audited(suite, tenant))[-2:] == ["login.succeeded", "login.failed"]


async def test_a_malformed_slug_is_refused_before_any_lookup(suite: Suite) -> None:
    body = {"email": "a@b.example", "password": "x"}
    for slug in ("-", "a_b", "x" * 64, "", "tab\there", "Ünicode", "a/b"):
        refused(await suite.post_anonymously(LOGIN, body | {"tenantSlug": slug}), 400, "tenant_malformed")


@pytest.mark.parametrize(
    "others",
    [{}, {"email": "a@b.example"}, {"email": 7, "password": ["x"]}, {"email": "a@b.example", "extra": True}],
)
@pytest.mark.parametrize("slug", ["a_b", "", 7, {"slug": "acme"}, True])
async def test_a_malformed_slug_comes_before_any_other_field(
    suite: Suite, others: dict[str, Any], slug: Any
) -> None:
    refused(await suite.post_anonymously(LOGIN, others | {"tenantSlug": slug}), 400, "tenant_malformed")


@pytest.mark.parametrize(
    "body", [{"email": "a@b.example"}, {"tenantSlug": None}, [], "x", {"tenantSlug": "ok-slug"}]
)
async def test_without_a_malformed_slug_the_fields_are_named(suite: Suite, body: Any) -> None:
    refused(await suite.post_anonymously(LOGIN, body), 422, "validation_failed")


async def test_without_any_source_the_tenant_is_asked_for(suite: Suite) -> None:
    body = {"email": "a@b.example", "password": "x"}
    refused(await suite.post_anonymously(LOGIN, body), 400, "tenant_required")


async def test_sources_that_disagree_are_a_conflict(suite: Suite) -> None:
    tenant, other = await suite.tenant(), await suite.tenant()
    body = {"email": tenant.owner_email, "password": PASSWORD, "tenantSlug": tenant.slug}
    answer = await suite.post_anonymously(LOGIN, body, headers={"X-Tenant-ID": str(other.id)})
    assert refused(answer, 400, "tenant_conflict")["sources"] == ["header_id", "body"]
    unknown = {"X-Tenant-Slug": "no-such-tenant"}
    refused(await suite.post_anonymously(LOGIN, body, headers=unknown), 400, "tenant_conflict")


async def test_an_expired_bearer_does_not_stand_in_the_way(suite: Suite) -> None:
    tenant = await suite.tenant()
    body = {"email": tenant.owner_email, "password": PASSWORD, "tenantSlug": tenant.slug}
    fine(await suite.post_anonymously(LOGIN, body, headers=bearer("nonsense")))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"password": "x"}, "email"),
        ({"email": "a@b.example"}, "password"),
        ({"email": "a@b.example", "password": ""}, "password"),
        ({"email": "a@b.example", "password": "x" * 1_025}, "password"),
        ({"email": "a\x00@b.example", "password": "x"}, "email"),
        ({"email": "a@b.example", "password": 7}, "password"),
        ({"email": "a@b.example", "password": "x", "role": "owner"}, "role"),
        ({"email": "a@b.example", "password": "x", "tenantId": "1"}, "tenantId"),
    ],
)
async def test_a_body_that_does_not_fit_is_named(suite: Suite, body: dict[str, Any], field: str) -> None:
    """Catalogue 83: a huge password is refused before it is hashed; catalogue 94."""
    document = refused(await suite.post_anonymously(LOGIN, body), 422, "validation_failed")
    assert [error["field"] for error in document["errors"]] == [field]


async def test_passwords_are_taken_whole_in_any_composition(suite: Suite) -> None:
    """Catalogue 83: 64 Unicode characters, normalised, never truncated, white space and all."""
    password = " Ångström-7-" + "é" * 52
    assert len(password) == 64
    owner = {"email": "owner@whole.example", "name": "Olivia", "password": password}
    body = {"name": "Whole", "slug": f"whole-{fresh_address().replace('.', '-')}", "owner": owner}
    answer = await suite.client.post("/api/v1/tenants/create", json=body, headers=suite.operator)
    slug = fine(answer, 201)["slug"]
    asked = {"email": owner["email"], "tenantSlug": slug}
    for form in ("NFC", "NFD"):
        spelled = unicodedata.normalize(form, password)
        fine(await suite.post_anonymously(LOGIN, asked | {"password": spelled}))
    for wrong in (password[:-1], password.strip(), password + " "):
        answer = await suite.post_anonymously(LOGIN, asked | {"password": wrong})
        refused(answer, 401, "invalid_credentials")


async def test_an_old_hash_is_renewed_at_sign_in(suite: Suite) -> None:
    """Catalogue 83."""
    tenant = await suite.tenant()
    old = PasswordHasher(time_cost=1, memory_cost=1_024, parallelism=1).hash(PASSWORD)
    await alter(suite, tenant, update(UserRow).values(password_hash=old))
    fine(await sign_in(suite, tenant))
    async with suite.database.transaction(tenant.id) as session:
        renewed = (await session.scalars(select(UserRow.password_hash))).one()
    assert renewed is not None
    assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    fine(await sign_in(suite, tenant))


async def test_a_sign_in_is_dated_and_opens_a_session_of_its_own(suite: Suite) -> None:
    """Catalogue 77."""
    tenant = await suite.tenant()
    first, second = fine(await sign_in(suite, tenant)), fine(await sign_in(suite, tenant))
    ids = {claims(answer["token"])["sid"] for answer in (first, second)}
    assert len(ids | {claims(tenant.owner_token)["sid"]}) == 3
    async with suite.database.transaction(tenant.id) as session:
        stored = set(await session.scalars(select(SessionRow.id)))
        dated = (await session.scalars(select(UserRow.last_login_at))).one()
    assert {UUID(each) for each in ids} <= stored
    assert dated is not None


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        ("pending_deletion", None, "tenant_pending_deletion"),
        ("suspended", "past_due", "tenant_suspended"),
    ],
)
async def test_the_owner_of_an_ending_tenant_gets_a_narrow_token_and_nobody_else_any(
    suite: Suite, status: str, reason: str | None, code: str
) -> None:
    tenant = await suite.tenant("custom")
    member = await suite.user(tenant, "admin")
    await set_status(suite, tenant, status, reason, raise_epoch=True)
    refused(await me(suite, tenant.owner_token), 401, "token_revoked")
    document = fine(await sign_in(suite, tenant))
    found = claims(document["token"])
    assert set(found["scope"].split()) == {permission.value for permission in RESTRICTED_PERMISSIONS}
    assert (found["restricted"], found["ver"]) == (True, [0, 1])
    assert fine(await me(suite, document["token"]))["permissions"] == sorted(RESTRICTED_PERMISSIONS)
    users = await suite.client.get(USERS, headers=bearer(document["token"]))
    refused(users, 403, "permission_denied")
    refused(await sign_in(suite, tenant, email=member.email), 403, code)
    refused(await sign_in(suite, tenant, email=member.email, password="wrong"), 401, "invalid_credentials")
    assert (await audited(suite, tenant))[-2:] == [f"login.{code}", "login.failed"]
    # The narrow session refreshes narrow, and is over when the tenant is not ending any more.
    narrow = fine(await suite.post_anonymously(f"{AUTH}/refresh", {"refreshToken": document["refreshToken"]}))
    assert claims(narrow["token"])["restricted"] is True
    await set_status(suite, tenant, "active", raise_epoch=True)
    answer = await suite.post_anonymously(f"{AUTH}/refresh", {"refreshToken": narrow["refreshToken"]})
    refused(answer, 401, "token_revoked")


async def test_a_suspended_tenant_lets_nobody_in_and_says_so_only_to_members(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await set_status(suite, tenant, "suspended", "Abuse")
    assert refused(await sign_in(suite, tenant), 403, "tenant_suspended")["reason"] == "Abuse"
    answer = await suite.post_anonymously(f"{AUTH}/refresh", {"refreshToken": tenant.owner.refresh_token})
    refused(answer, 403, "tenant_suspended")
    # Signing out is always possible.
    fine(await logout(suite, headers=tenant.auth), 204)
