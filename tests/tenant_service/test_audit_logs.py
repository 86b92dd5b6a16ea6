"""Reading the audit log: what it shows to whom, its filters and its pages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, act_as, patch


async def read(suite: Suite, tenant: TenantHandle, headers: dict[str, str], **query: Any) -> Any:
    return fine(await suite.client.get(f"{TENANTS}/{tenant.id}/audit-logs", params=query, headers=headers))


async def test_the_log_shows_who_did_what_from_where(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    before = datetime.now(UTC) - timedelta(seconds=1)
    headers = tenant.auth | {"User-Agent": "tests/1", "X-Request-ID": "req-1234"}
    fine(await patch(suite, tenant, headers, maxUsers=5))
    (row,) = await read(suite, tenant, tenant.auth, action="tenant.updated")
    assert {
        name: row[name] for name in ("kind", "actor", "actorKind", "resource", "outcome", "requestId")
    } == {
        "kind": "change",
        "actor": str(tenant.owner.id),
        "actorKind": "member",
        "resource": f"tenants/{tenant.id}",
        "outcome": "success",
        "requestId": "req-1234",
    }
    assert row["sources"] == ["token"]
    assert row["userAgent"] == "tests/1"
    assert row["ip"] is not None
    assert row["changes"] == {"max_users": {"old": None, "new": 5}}
    assert before < datetime.fromisoformat(row["occurredAt"]) <= datetime.now(UTC)


async def test_operators_see_the_log_without_changes_unless_they_act_inside(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    fine(await patch(suite, tenant, tenant.auth, maxUsers=5))
    (outside,) = await read(suite, tenant, suite.operator, action="tenant.updated")
    assert outside["changes"] is None
    (inside,) = await read(suite, tenant, await act_as(suite, tenant), action="tenant.updated")
    assert inside["changes"] == {"max_users": {"old": None, "new": 5}}


async def test_the_filters_narrow_and_the_range_is_half_open(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    for users in (9, 8, 7):
        fine(await patch(suite, tenant, tenant.auth, maxUsers=users))
    changes = await read(suite, tenant, tenant.auth, kind="change", actor=str(tenant.owner.id))
    assert [row["changes"]["max_users"]["new"] for row in changes] == [7, 8, 9]
    newest = changes[0]["occurredAt"]
    asked: dict[str, Any] = {"action": "tenant.updated"}
    since = await read(suite, tenant, tenant.auth, **asked, **{"from": newest})
    until = await read(suite, tenant, tenant.auth, **asked, to=newest)
    assert {row["id"] for row in since}.isdisjoint(row["id"] for row in until)
    assert len(since) + len(until) == 3
    assert changes[0]["id"] in {row["id"] for row in since}
    assert await read(suite, tenant, tenant.auth, outcome="refused", kind="change") == []


async def test_pages_show_each_row_once_while_rows_are_added(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    for users in range(20, 13, -1):
        fine(await patch(suite, tenant, tenant.auth, maxUsers=users))
    path = f"{TENANTS}/{tenant.id}/audit-logs"
    answer = await suite.client.get(
        path, params={"action": "tenant.updated", "limit": 3}, headers=tenant.auth
    )
    seen = [row["changes"]["max_users"]["new"] for row in fine(answer)]
    while "next" in answer.links:
        fine(await patch(suite, tenant, tenant.auth, maxUsers=1 + len(seen) % 2))
        answer = await suite.client.get(answer.links["next"]["url"], headers=tenant.auth)
        seen += [row["changes"]["max_users"]["new"] for row in fine(answer)]
    assert seen == list(range(14, 21))


async def test_members_without_the_permission_and_other_tenants_read_nothing(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    member = await suite.user(tenant, "member")
    path = f"{TENANTS}/{tenant.id}/audit-logs"
    assert refused(await suite.client.get(path, headers=member.auth), 403, "permission_denied")
    refused(await suite.client.get(path, headers=other.auth), 404, "tenant_not_found")
    rows = await read(suite, other, other.auth, kind="change", limit=200)
    assert all(str(tenant.id) not in str(row) for row in rows)


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"from": "2026-01-01T00:00:00"},
        {"actor": "me"},
        {"kind": "gossip"},
        {"action": "a\x00b"},
        {"outcome": "\x00"},
        {"limit": "0"},
        {"limit": "201"},
        {"cursor": "!"},
        {"cursor": "AAAA"},
    ],
)
async def test_a_filter_that_cannot_be_read_is_422(suite: Suite, query: dict[str, str]) -> None:
    """Catalogue 43."""
    tenant = await suite.tenant("custom")
    path = f"{TENANTS}/{tenant.id}/audit-logs"
    refused(await suite.client.get(path, params=query, headers=tenant.auth), 422, "validation_failed")


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
async def test_a_range_may_reach_beyond_all_rows(suite: Suite, moment: str) -> None:
    tenant = await suite.tenant("custom")
    for edge in ("from", "to"):
        await read(suite, tenant, tenant.auth, **{edge: moment})
