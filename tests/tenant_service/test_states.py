"""Suspending and reactivating: once each, in force everywhere within a second, and what becomes of tokens."""

import asyncio

import httpx
from sqlalchemy import select

from mis_models.platform import PlatformAuditRow
from tests.answers import eventually, fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, act_as, audit_rows, new_slug

USERS = "/api/v1/users"


async def move(suite: Suite, tenant: TenantHandle, step: str, **body: str) -> httpx.Response:
    path = f"{TENANTS}/{tenant.id}/{step}"
    return await suite.client.post(path, json=body or None, headers=suite.operator)


async def test_a_suspension_closes_every_service_within_a_second_and_keeps_the_tokens(suite: Suite) -> None:
    """Catalogue 4 and 67."""
    tenant = await suite.tenant("custom")

    async def ask() -> httpx.Response:
        return await suite.client.get(USERS, headers=tenant.auth)

    fine(await ask())
    suspended = fine(await move(suite, tenant, "suspend", reason="Abuse"))
    assert suspended["status"] == "suspended"
    problem = refused(
        await eventually(ask, lambda answer: answer.status_code == 403), 403, "tenant_suspended"
    )
    assert problem["reason"] == "Abuse"
    own = await suite.client.get(f"{TENANTS}/{tenant.id}", headers=tenant.auth)
    refused(own, 403, "tenant_suspended")
    async with suite.client_at("10.99.3.1") as stranger:
        resolved = fine(await stranger.get(f"{TENANTS}/resolve", headers={"X-Tenant-Slug": tenant.slug}))
    assert resolved["code"] == "tenant_not_found"
    assert fine(await move(suite, tenant, "reactivate"))["status"] == "active"
    # The very token from before is good again.
    await eventually(ask, lambda answer: answer.status_code == 200)


async def test_each_step_happens_once(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    problem = refused(await move(suite, tenant, "reactivate"), 409, "tenant_state_conflict")
    assert (problem["status"], problem["tenantStatus"]) == (409, "active")
    answers = await asyncio.gather(*(move(suite, tenant, "suspend", reason="Once") for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    problem = refused(await move(suite, tenant, "suspend", reason="Twice"), 409, "tenant_state_conflict")
    assert problem["tenantStatus"] == "suspended"
    fine(await move(suite, tenant, "reactivate"))


async def test_each_step_is_audited_on_both_sides(suite: Suite) -> None:
    """Catalogue 97 and 128."""
    tenant = await suite.tenant("custom")
    fine(await move(suite, tenant, "suspend", reason="Unpaid since March"))
    fine(await move(suite, tenant, "reactivate"))
    steps = ["tenant.reactivated", "tenant.suspended", "tenant.created"]
    rows = await audit_rows(suite, tenant.id)
    assert [row["action"] for row in rows if row["action"].startswith("tenant.")] == steps
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        own = select(PlatformAuditRow).where(PlatformAuditRow.tenant_id == tenant.id)
        platform = (await session.scalars(own.order_by(PlatformAuditRow.id.desc()))).all()
    known = [row for row in platform if row.action in steps]
    assert [row.action for row in known] == steps
    assert known[1].reason == "Unpaid since March"


async def test_only_the_platforms_operators_move_a_tenant(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    acting = await act_as(suite, tenant)
    for headers in (tenant.auth, acting):
        for step in ("suspend", "reactivate"):
            path = f"{TENANTS}/{tenant.id}/{step}"
            answer = await suite.client.post(path, json={"reason": "Mine"}, headers=headers)
            assert refused(answer, 403, "permission_denied")["required"] == "operator"


async def test_a_suspension_needs_a_reason(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    refused(await move(suite, tenant, "suspend"), 422, "validation_failed")
    refused(await move(suite, tenant, "suspend", reason="  "), 422, "validation_failed")


async def test_tokens_end_when_a_tenant_falls_past_due_and_when_it_comes_back(suite: Suite) -> None:
    tenant = await suite.tenant("custom")

    async def ask() -> httpx.Response:
        return await suite.client.get(USERS, headers=tenant.auth)

    fine(await move(suite, tenant, "suspend", reason="past_due"))
    refused(await eventually(ask, lambda answer: answer.status_code == 401), 401, "token_revoked")
    body = {"refreshToken": tenant.owner.refresh_token}
    refused(await suite.post_anonymously("/api/v1/auth/refresh", body), 401, "token_revoked")
    narrow = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    own = f"{TENANTS}/{tenant.id}"
    fine(await suite.client.get(own, headers=narrow.auth))
    refused(await suite.client.get(USERS, headers=narrow.auth), 403, "permission_denied")
    fine(await move(suite, tenant, "reactivate"))
    gone = await eventually(
        lambda: suite.client.get(own, headers=narrow.auth), lambda answer: answer.status_code == 401
    )
    refused(gone, 401, "token_revoked")
    anew = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    fine(await suite.client.get(USERS, headers=anew.auth))


async def test_nobody_suspends_what_is_not_there(suite: Suite) -> None:
    for named in (new_slug("none"), "00000000-0000-7000-8000-000000000000"):
        path = f"{TENANTS}/{named}/suspend"
        answer = await suite.client.post(path, json={"reason": "Why not"}, headers=suite.operator)
        refused(answer, 404, "tenant_not_found")
