"""A tenant's alerts over HTTP: who reads them, what they look like, and who may say that one was seen."""

from typing import Any
from uuid import UUID

import pytest

from tenant_service.alerts.book import open_alert, resolve_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, audit_rows

UNHEALTHY = Cause(AlertKind.HEALTH, "unhealthy", Severity.CRITICAL, "Storage does not answer.")


def users_at(threshold: int) -> Cause:
    return Cause(AlertKind.LIMIT, "users", Severity.WARNING, "Users run out.", threshold, "2026-11-25")


async def opened(suite: Suite, tenant: TenantHandle, *causes: Cause) -> list[UUID]:
    async with suite.database.transaction(tenant.id) as session:
        return [found for cause in causes if (found := await open_alert(session, cause)) is not None]


async def listed(suite: Suite, tenant: TenantHandle, **query: str) -> list[dict[str, Any]]:
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/alerts", params=query, headers=tenant.auth)
    found: list[dict[str, Any]] = fine(answer)
    return found


async def test_alerts_are_listed_newest_first_and_by_page(suite: Suite) -> None:
    tenant = await suite.tenant()
    ids = await opened(suite, tenant, users_at(80), users_at(90), users_at(100))
    path = f"{TENANTS}/{tenant.slug}/alerts"
    first = await suite.client.get(path, params={"limit": 2}, headers=tenant.auth)
    assert [row["id"] for row in fine(first)] == [str(ids[2]), str(ids[1])]
    rest = await suite.client.get(first.links["next"]["url"], headers=tenant.auth)
    assert [row["id"] for row in fine(rest)] == [str(ids[0])]
    assert "link" not in rest.headers


async def test_an_alert_says_what_it_is_about(suite: Suite) -> None:
    tenant = await suite.tenant()
    ids = await opened(suite, tenant, users_at(80))
    [alert] = await listed(suite, tenant)
    assert alert.pop("openedAt").endswith("Z")
    assert alert == {
        "id": str(ids[0]),
        "kind": "limit",
        "subject": "users",
        "severity": "warning",
        "threshold": 80,
        "message": "Users run out.",
        "status": "open",
        "priority": "normal",
        "acknowledgedAt": None,
        "acknowledgedBy": None,
        "resolvedAt": None,
    }


async def test_alerts_are_narrowed_by_status_and_kind(suite: Suite) -> None:
    tenant = await suite.tenant()
    await opened(suite, tenant, users_at(80), UNHEALTHY)
    async with suite.database.transaction(tenant.id) as session:
        await resolve_alert(session, AlertKind.HEALTH, "unhealthy")
    assert [row["kind"] for row in await listed(suite, tenant, status="open")] == ["limit"]
    assert [row["status"] for row in await listed(suite, tenant, kind="health")] == ["resolved"]
    assert await listed(suite, tenant, kind="health", status="open") == []
    wrong = await suite.client.get(f"{TENANTS}/{tenant.id}/alerts", params={"kind": "x"}, headers=tenant.auth)
    refused(wrong, 422, "validation_failed")


@pytest.mark.parametrize(("plan", "priority"), [("premium", "normal"), ("enterprise", "high")])
async def test_alerts_have_high_priority_where_the_plan_has_priority_support(
    suite: Suite, plan: str, priority: str
) -> None:
    tenant = await suite.tenant(plan)
    await opened(suite, tenant, UNHEALTHY)
    assert [row["priority"] for row in await listed(suite, tenant)] == [priority]


async def test_acknowledging_says_who_has_seen_it_first_and_leaves_one_trace(suite: Suite) -> None:
    """Catalogue 128."""
    tenant = await suite.tenant()
    admin = await suite.user(tenant, "admin")
    [alert_id] = await opened(suite, tenant, UNHEALTHY)
    path = f"{TENANTS}/{tenant.id}/alerts/{alert_id}/acknowledge"
    seen = fine(await suite.client.post(path, headers=admin.auth))
    assert (seen["status"], seen["acknowledgedBy"], seen["resolvedAt"]) == (
        "acknowledged",
        str(admin.id),
        None,
    )
    assert fine(await suite.client.post(path, headers=tenant.auth)) == seen
    traces = [row for row in await audit_rows(suite, tenant.id) if row["action"] == "alert.acknowledged"]
    assert [(row["actor"], row["resource"]) for row in traces] == [(str(admin.id), f"alerts/{alert_id}")]
    # It stands for its cause until that has ended.
    assert await opened(suite, tenant, UNHEALTHY) == []


async def test_an_operator_acknowledges_in_any_tenant(suite: Suite) -> None:
    tenant = await suite.tenant()
    [alert_id] = await opened(suite, tenant, UNHEALTHY)
    path = f"{TENANTS}/{tenant.id}/alerts/{alert_id}/acknowledge"
    assert fine(await suite.client.post(path, headers=suite.operator))["status"] == "acknowledged"


async def test_what_has_ended_is_not_acknowledged(suite: Suite) -> None:
    tenant = await suite.tenant()
    [alert_id] = await opened(suite, tenant, UNHEALTHY)
    async with suite.database.transaction(tenant.id) as session:
        await resolve_alert(session, AlertKind.HEALTH, "unhealthy")
    answer = await suite.client.post(
        f"{TENANTS}/{tenant.id}/alerts/{alert_id}/acknowledge", headers=tenant.auth
    )
    refused(answer, 409, "alert_resolved")


async def test_a_member_without_the_permission_reads_but_does_not_acknowledge(suite: Suite) -> None:
    tenant = await suite.tenant()
    member = await suite.user(tenant, "member")
    [alert_id] = await opened(suite, tenant, UNHEALTHY)
    path = f"{TENANTS}/{tenant.id}/alerts"
    assert len(fine(await suite.client.get(path, headers=member.auth))) == 1
    refused(
        await suite.client.post(f"{path}/{alert_id}/acknowledge", headers=member.auth),
        403,
        "permission_denied",
    )
