"""Deleting and restoring: who may, what ends at once, and what comes back."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from mis_models.platform import PlatformAuditRow
from mis_models.work import OutboxRow
from mis_tenancy.access import RESTRICTED_PERMISSIONS
from mis_tenancy.tables import TenantRow
from tests.answers import eventually, fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, act_as, audit_rows, new_slug

USERS = "/api/v1/users"


async def delete(suite: Suite, tenant: TenantHandle, headers: dict[str, str], **query: int) -> httpx.Response:
    return await suite.client.delete(f"{TENANTS}/{tenant.id}", headers=headers, params=query)


async def restore(suite: Suite, tenant: TenantHandle, headers: dict[str, str]) -> httpx.Response:
    return await suite.client.post(f"{TENANTS}/{tenant.id}/restore", headers=headers)


async def log_in(suite: Suite, tenant: TenantHandle, email: str, password: str) -> httpx.Response:
    body = {"email": email, "password": password, "tenantSlug": tenant.slug}
    return await suite.post_anonymously("/api/v1/auth/login", body)


async def row_of(suite: Suite, tenant: TenantHandle) -> TenantRow:
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        row: TenantRow = await session.get_one(TenantRow, tenant.id)
    return row


async def events_of(suite: Suite, tenant: TenantHandle) -> list[Any]:
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        own = select(OutboxRow).where(OutboxRow.tenant_id == tenant.id).order_by(OutboxRow.id)
        return [(row.type, row.data) for row in await session.scalars(own)]


async def test_an_owners_deletion_closes_the_tenant_at_once_and_purges_it_in_30_days(suite: Suite) -> None:
    """Catalogue 5 and 67."""
    tenant = await suite.tenant("custom")
    member = await suite.user(tenant, "admin")
    answer = await delete(suite, tenant, tenant.auth)
    deletion = fine(answer, 202)
    assert deletion.keys() == {"status", "purgeAt"}
    assert deletion["status"] == "pending_deletion"
    due = datetime.fromisoformat(deletion["purgeAt"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < due <= timedelta(days=30)
    for user in (tenant.owner, member):
        gone = await eventually(
            lambda user=user: suite.client.get(USERS, headers=user.auth),  # type: ignore[misc]
            lambda answer: answer.status_code == 401,
        )
        refused(gone, 401, "token_revoked")
        body = {"refreshToken": user.refresh_token}
        refused(await suite.post_anonymously("/api/v1/auth/refresh", body), 401, "token_revoked")
    async with suite.client_at("10.99.5.1") as stranger:
        asked = [
            fine(await stranger.get(f"{TENANTS}/resolve", headers={"X-Tenant-Slug": slug}))
            for slug in (tenant.slug, new_slug("none"))
        ]
    assert [document["code"] for document in asked] == ["tenant_not_found", "tenant_not_found"]


async def test_of_an_ending_tenant_only_the_owner_gets_in_with_what_an_ending_needs(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    admin = await suite.user(tenant, "admin")
    purge_at = fine(await delete(suite, tenant, tenant.auth), 202)["purgeAt"]
    kept_out = refused(
        await log_in(suite, tenant, admin.email, admin.password), 403, "tenant_pending_deletion"
    )
    assert kept_out["purgeAt"] == purge_at
    refused(await log_in(suite, tenant, admin.email, "wrong"), 401, "invalid_credentials")
    refused(await log_in(suite, tenant, tenant.owner_email, "wrong"), 401, "invalid_credentials")
    owner = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    me = fine(await suite.client.get("/api/v1/auth/me", headers=owner.auth))
    assert set(me["permissions"]) == {permission.value for permission in RESTRICTED_PERMISSIONS}
    assert fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=owner.auth))["status"] == (
        "pending_deletion"
    )
    refused(await suite.client.get(USERS, headers=owner.auth), 403, "permission_denied")
    assert refused(await delete(suite, tenant, owner.auth), 403, "permission_denied")["required"] == (
        "tenant:delete"
    )


async def test_a_restoration_brings_all_back_and_ends_the_tokens_of_the_ending(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    fine(await delete(suite, tenant, tenant.auth), 202)
    narrow = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    restored = await restore(suite, tenant, narrow.auth)
    document = fine(restored)
    assert document == tenant.document | {"updatedAt": document["updatedAt"]}
    gone = await eventually(
        lambda: suite.client.get(f"{TENANTS}/{tenant.id}", headers=narrow.auth),
        lambda answer: answer.status_code == 401,
    )
    refused(gone, 401, "token_revoked")
    refused(await suite.client.get(USERS, headers=tenant.auth), 401, "token_revoked")
    for token in (tenant.owner.refresh_token, narrow.refresh_token):
        body = {"refreshToken": token}
        refused(await suite.post_anonymously("/api/v1/auth/refresh", body), 401, "token_revoked")
    anew = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    fine(await suite.client.get(USERS, headers=anew.auth))
    row = await row_of(suite, tenant)
    assert (row.purge_at, row.status_before, row.status_reason) == (None, None, None)


async def test_a_restoration_lifts_no_suspension(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    path = f"{TENANTS}/{tenant.id}/suspend"
    fine(await suite.client.post(path, json={"reason": "Abuse"}, headers=suite.operator))
    fine(await delete(suite, tenant, suite.operator), 202)
    await suite.tenancy("auth").feed.poll()
    owner = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    # A date that an operator moves does not make the tool forget what was before.
    fine(await delete(suite, tenant, suite.operator, graceDays=60), 202)
    await suite.tenancy("auth").feed.poll()
    owner = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    assert fine(await restore(suite, tenant, owner.auth))["status"] == "suspended"
    await suite.tenancy("auth").feed.poll()
    problem = refused(
        await log_in(suite, tenant, tenant.owner_email, tenant.owner_password), 403, "tenant_suspended"
    )
    assert problem["reason"] == "Abuse"


async def test_only_operators_choose_the_grace(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    for days in (0, 30, 90):
        problem = refused(await delete(suite, tenant, tenant.auth, graceDays=days), 403, "permission_denied")
        assert problem["required"] == "operator"
    acting = await act_as(suite, tenant)
    refused(await delete(suite, tenant, acting, graceDays=0), 403, "permission_denied")
    for days in (-1, 366):
        refused(await delete(suite, tenant, suite.operator, graceDays=days), 422, "validation_failed")
    purge_at = fine(await delete(suite, tenant, suite.operator, graceDays=7), 202)["purgeAt"]
    due = datetime.fromisoformat(purge_at) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < due <= timedelta(days=7)


@pytest.mark.parametrize("role", ["admin", "member", "viewer"])
async def test_only_owners_and_operators_end_a_tenant(suite: Suite, role: str) -> None:
    tenant = await suite.tenant("custom")
    user = await suite.user(tenant, role)
    assert refused(await delete(suite, tenant, user.auth), 403, "permission_denied")["required"] == (
        "tenant:delete"
    )
    assert refused(await restore(suite, tenant, user.auth), 403, "permission_denied")["required"] == (
        "tenant:restore"
    )
    assert (await row_of(suite, tenant)).status == "active"


async def test_a_deletion_of_what_has_changed_since_is_refused(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    path = f"{TENANTS}/{tenant.id}"
    stale = {"If-Match": (await suite.client.get(path, headers=tenant.auth)).headers["etag"]}
    changed = await suite.client.patch(path, json={"name": "New name"}, headers=tenant.auth)
    refused(await suite.client.delete(path, headers=tenant.auth | stale), 412, "precondition_failed")
    fresh = {"If-Match": changed.headers["etag"]}
    answer = await suite.client.delete(path, headers=tenant.auth | fresh)
    fine(answer, 202)
    now = await suite.client.get(path, headers=suite.operator)
    assert answer.headers["etag"] == now.headers["etag"] != changed.headers["etag"]


async def test_each_step_happens_once(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    problem = refused(await restore(suite, tenant, tenant.auth), 409, "tenant_state_conflict")
    assert problem["tenantStatus"] == "active"
    answers = await asyncio.gather(*(delete(suite, tenant, suite.operator) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    # What takes a suspension back does not take a deletion back.
    path = f"{TENANTS}/{tenant.id}"
    refused(
        await suite.client.post(f"{path}/reactivate", headers=suite.operator), 409, "tenant_state_conflict"
    )
    reason = {"reason": "Late"}
    answer = await suite.client.post(f"{path}/suspend", json=reason, headers=suite.operator)
    refused(answer, 409, "tenant_state_conflict")
    answers = await asyncio.gather(*(restore(suite, tenant, suite.operator) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]


async def test_the_end_and_the_way_back_are_audited_and_told(suite: Suite) -> None:
    """Catalogue 97 and 128."""
    tenant = await suite.tenant("custom")
    purge_at = fine(await delete(suite, tenant, tenant.auth), 202)["purgeAt"]
    fine(await restore(suite, tenant, suite.operator))
    fine(await delete(suite, tenant, suite.operator), 202)
    steps = ["tenant.deleted", "tenant.restored", "tenant.deleted"]
    rows = [row for row in await audit_rows(suite, tenant.id) if row["action"] in steps]
    assert [row["action"] for row in rows] == steps
    assert rows[-1]["actor"] == str(tenant.owner.id)
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        own = select(PlatformAuditRow.action).where(PlatformAuditRow.tenant_id == tenant.id)
        platform = list(await session.scalars(own.order_by(PlatformAuditRow.id.desc())))
    # An owner's step is the tenant's own business; an operator's stands in both logs.
    assert platform == ["tenant.deleted", "tenant.restored", "tenant.created"]
    told = [(kind, data["purgeAt"]) for kind, data in await events_of(suite, tenant) if kind in steps]
    assert told[:2] == [("tenant.deleted", purge_at), ("tenant.restored", None)]
    assert [kind for kind, _ in told] == steps
