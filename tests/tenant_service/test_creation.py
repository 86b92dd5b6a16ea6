"""Making tenants: what they get, what is refused, and that a refusal leaves nothing behind."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from mis_models.accounts import CountersRow, UserRow
from mis_models.platform import PlatformAuditRow
from mis_tenancy.tables import ConfigurationRow, DataKeyRow
from tests.answers import fine, refused
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS, an_owner, audit_rows, create, fields, new_slug


async def test_the_design_documents_own_example_is_made(suite: Suite) -> None:
    slug = new_slug("my-org")
    body = {
        "name": "My Organization",
        "slug": slug,
        "domain": f"{slug}.example",
        "subdomain": slug,
        "plan": "premium",
        "maxUsers": 1000,
        "maxStorage": 100,
        "features": {"biometric_auth": True},
        "settings": {"custom_branding": True},
    }
    answer = await suite.client.post(f"{TENANTS}/create", json=body, headers=suite.operator)
    tenant = fine(answer, 201)
    assert set(tenant) == {
        *("id", "name", "slug", "domain", "subdomain", "plan", "status", "maxUsers", "maxStorage"),
        *("features", "settings", "createdAt", "updatedAt"),
    }
    assert {name: tenant[name] for name in body.keys() - {"features"}} == {
        name: body[name] for name in body.keys() - {"features"}
    }
    assert tenant["features"] == {
        "biometric_auth": True,
        "custom_branding": True,
        "ai_verification": False,
        "advanced_analytics": False,
        "priority_support": False,
    }
    assert tenant["status"] == "active"
    assert answer.headers["location"] == f"{TENANTS}/{tenant['id']}"
    assert answer.headers["etag"] == '"1"'
    assert tenant["createdAt"].endswith("Z")


async def test_both_paths_make_tenants(suite: Suite) -> None:
    body = {"name": "Plain", "slug": new_slug()}
    tenant = fine(await suite.client.post(TENANTS, json=body, headers=suite.operator), 201)
    assert tenant["subdomain"] == body["slug"]
    assert (tenant["plan"], tenant["maxUsers"], tenant["maxStorage"]) == ("basic", 100, 10)
    assert tenant["domain"] is None
    assert tenant["settings"] == {}


@pytest.mark.parametrize(
    ("plan", "users", "storage"),
    [("basic", 100, 10), ("premium", 1000, 100), ("enterprise", 10_000, 1000), ("custom", None, None)],
)
async def test_limits_left_out_are_the_plans(
    suite: Suite, plan: str, users: int | None, storage: int | None
) -> None:
    tenant = fine(await create(suite, plan=plan), 201)
    assert (tenant["maxUsers"], tenant["maxStorage"]) == (users, storage)


async def test_a_new_tenant_has_counters_a_data_key_and_an_owner_who_can_sign_in(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    async with suite.tenancy("tenant").database.transaction(tenant.id) as session:
        counters = (await session.scalars(select(CountersRow))).one()
        key = (await session.scalars(select(DataKeyRow))).one()
        owner = (await session.scalars(select(UserRow))).one()
        overrides = (await session.scalars(select(ConfigurationRow))).all()
    assert counters.users == 1
    assert key.version == 1
    assert (owner.role, owner.status, owner.email) == ("owner", "active", tenant.owner_email)
    assert owner.password_hash is not None
    assert owner.password_hash.startswith("$argon2id$")
    # What the plan says anyway is not the tenant's own.
    assert overrides == []


async def test_an_owner_without_a_password_waits_for_an_invitation_and_holds_a_seat(suite: Suite) -> None:
    tenant = fine(await create(suite, owner={"email": "Wanda@acme.example"}), 201)
    async with suite.tenancy("tenant").database.transaction(UUID(tenant["id"])) as session:
        owner = (await session.scalars(select(UserRow))).one()
        counters = (await session.scalars(select(CountersRow))).one()
    assert (owner.status, owner.name, owner.password_hash) == ("invited", "Wanda", None)
    assert counters.users == 1


async def test_creation_is_audited_in_the_tenant_and_on_the_platform(suite: Suite) -> None:
    tenant = fine(await create(suite), 201)
    rows = await audit_rows(suite, tenant["id"])
    assert [(row["action"], row["actorKind"], row["outcome"]) for row in rows] == [
        ("tenant.created", "operator", "success")
    ]
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        own = select(PlatformAuditRow).where(PlatformAuditRow.tenant_id == UUID(tenant["id"]))
        platform = (await session.scalars(own)).one()
    assert (platform.action, str(platform.actor)) == ("tenant.created", rows[0]["actor"])


async def test_a_feature_switched_off_at_creation_is_the_tenants_own_value(suite: Suite) -> None:
    tenant = fine(await create(suite, plan="enterprise", features={"ai_verification": False}), 201)
    assert tenant["features"]["ai_verification"] is False
    assert tenant["features"]["biometric_auth"] is True
    path = f"{TENANTS}/{tenant['id']}/config/features.ai_verification"
    entry = fine(await suite.client.get(path, headers=suite.operator))
    assert (entry["configValue"], entry["source"], entry["version"]) == (False, "tenant", 1)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"maxUsers": 101}, "limit_exceeds_plan", "maxUsers"),
        ({"maxUsers": None}, "limit_exceeds_plan", "maxUsers"),
        ({"maxStorage": 11}, "limit_exceeds_plan", "maxStorage"),
        ({"features": {"biometric_auth": True}}, "feature_not_in_plan", "features.biometric_auth"),
        ({"settings": {"custom_branding": True}}, "feature_not_in_plan", "features.custom_branding"),
        ({"settings": {"custom_branding": "yes"}}, "validation_failed", "settings.custom_branding"),
        ({"slug": "admin"}, "slug_reserved", "slug"),
        ({"slug": "XN--bcher-kva"}, "slug_reserved", "slug"),
        ({"slug": "0190163d-8694-739b-aea5-966c26f8ad91"}, "slug_reserved", "slug"),
        ({"subdomain": "www"}, "slug_reserved", "subdomain"),
        ({"slug": "ab"}, "validation_failed", "slug"),
        ({"slug": "-abc"}, "validation_failed", "slug"),
        ({"slug": "a_bc"}, "validation_failed", "slug"),
        ({"slug": "\u212aelvin"}, "validation_failed", "slug"),
        ({"name": ""}, "validation_failed", "name"),
        ({"name": "a\r\nBcc: b"}, "validation_failed", "name"),
        ({"name": "a\x00b"}, "validation_failed", "name"),
        ({"plan": "gold"}, "validation_failed", "plan"),
        ({"maxUsers": 0}, "validation_failed", "maxUsers"),
        ({"maxUsers": 1.5}, "validation_failed", "maxUsers"),
        ({"domain": "10.0.0.1"}, "validation_failed", "domain"),
        ({"domain": "localhost"}, "validation_failed", "domain"),
        ({"domain": "a.example:80"}, "validation_failed", "domain"),
        ({"domain": "x.mis.local"}, "domain_refused", "domain"),
        ({"features": {"teleport": True}}, "validation_failed", None),
        ({"settings": {"a": "x" * 17_000}}, "validation_failed", "settings"),
        ({"settings": {"a": "nul\x00"}}, "validation_failed", "settings"),
        ({"settings": []}, "validation_failed", "settings"),
        ({"tenantId": "x"}, "validation_failed", "tenantId"),
        ({"owner": {"email": "nobody"}}, "validation_failed", "owner.email"),
        ({"owner": {"email": "a@b.example", "password": "short"}}, "password_policy", "owner.password"),
        ({"owner": {"email": "a@b.example", "role": "admin"}}, "validation_failed", "owner.role"),
    ],
)
async def test_what_does_not_fit_is_refused_by_its_field(
    suite: Suite, body: dict[str, Any], code: str, field: str | None
) -> None:
    """Catalogue 94."""
    problem = refused(await create(suite, **body), 422, code)
    if field is not None:
        assert field in [name for name, _ in fields(problem)]


async def test_the_custom_plan_takes_any_limit_and_any_feature(suite: Suite) -> None:
    asked = {"maxUsers": 500_000, "maxStorage": None, "features": {"ai_verification": False}}
    tenant = fine(await create(suite, plan="custom", **asked), 201)
    assert (tenant["maxUsers"], tenant["maxStorage"]) == (500_000, None)
    assert tenant["features"]["ai_verification"] is False


async def test_a_refused_limit_says_what_the_plan_allows(suite: Suite) -> None:
    problem = refused(await create(suite, plan="premium", maxUsers=5_000), 422, "limit_exceeds_plan")
    assert (problem["limit"], problem["plan"], problem["allowed"], problem["requested"]) == (
        *("maxUsers", "premium", 1_000, 5_000),
    )
    problem = refused(await create(suite, features={"ai_verification": True}), 422, "feature_not_in_plan")
    assert problem["availableIn"] == ["enterprise", "custom"]


async def test_the_plans_password_policy_holds_for_the_owner(suite: Suite) -> None:
    owner = an_owner(password="Abcdefghijk1")
    fine(await create(suite, plan="basic", owner=owner), 201)
    problem = refused(await create(suite, plan="premium", owner=owner), 422, "password_policy")
    assert fields(problem) == [("owner.password", "require_special_chars")]


async def test_of_parallel_creations_of_one_slug_exactly_one_succeeds(suite: Suite) -> None:
    slug = new_slug("race")
    answers = await asyncio.gather(*(create(suite, slug=slug, owner=an_owner()) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    for answer in answers:
        if answer.status_code == 409:
            refused(answer, 409, "slug_taken")


async def test_crossed_names_in_parallel_neither_deadlock_nor_share(suite: Suite) -> None:
    for _ in range(5):
        one, other = new_slug("x"), new_slug("y")
        answers = await asyncio.gather(
            create(suite, slug=one, subdomain=other), create(suite, slug=other, subdomain=one)
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409]


async def test_an_idempotency_key_makes_one_tenant_of_two_requests(suite: Suite) -> None:
    """Catalogue 137."""
    body = {"name": "Once", "slug": new_slug(), "owner": an_owner()}
    headers = suite.operator | {"Idempotency-Key": new_slug("key")}
    first = await suite.client.post(f"{TENANTS}/create", json=body, headers=headers)
    again = await suite.client.post(f"{TENANTS}/create", json=body, headers=headers)
    assert fine(first, 201) == fine(again, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]


async def test_members_make_no_tenants(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    body = {"name": "Mine", "slug": new_slug()}
    for path in (f"{TENANTS}/create", TENANTS):
        problem = refused(
            await suite.client.post(path, json=body, headers=tenant.auth), 403, "permission_denied"
        )
        assert problem["required"] == "operator"


async def test_a_name_asked_for_in_vain_resolves_as_soon_as_its_tenant_is_made(suite: Suite) -> None:
    slug = new_slug("late")
    headers = {"X-Tenant-Slug": slug}
    async with suite.client_at("10.99.0.1") as client:
        refused(await client.get("/api/v1/auth/password-policy", headers=headers), 404, "tenant_not_found")
        fine(await create(suite, slug=slug), 201)
        resolved = fine(await client.get(f"{TENANTS}/resolve", headers=headers))
    assert resolved["verdict"] == "accepted"
