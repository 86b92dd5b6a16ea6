"""Analytics: a tenant's requests broken down, for members with the feature, as JSON and as CSV."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mis_http.spreadsheets import neutral
from mis_tenancy.identifiers import new_id
from mis_tenancy.records.store import insert_records
from mis_tenancy.records.usage import route_of
from tenant_service.usage.ranges import DAY, HOUR, day_of
from tenant_service.usage.schemas import AnalyticsOut, RouteOut
from tenant_service.usage.tabulation import COLUMNS, csv_of
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, act_as
from tests.tenant_service.test_usage import ask, drained, past, usage

ALL = ["byRoute", "byUser", "byHour", "byStatus", "byFeature"]


async def analytics(suite: Suite, tenant: TenantHandle, headers: dict[str, str], **query: Any) -> Any:
    path = f"{TENANTS}/{tenant.id}/analytics"
    return fine(await suite.client.get(path, params=query, headers=headers))


def counts(rows: list[dict[str, Any]], name: str) -> dict[Any, int]:
    return {row[name]: row["requests"] for row in rows}


async def test_requests_are_broken_down_by_route_user_hour_status_and_feature(suite: Suite) -> None:
    tenant = await suite.tenant("enterprise")
    viewer = await suite.user(tenant, "viewer")
    for _ in range(3):
        await ask(suite, viewer.auth)
    await ask(suite, tenant.auth, f"/api/v1/users/{new_id()}")
    await analytics(suite, tenant, tenant.auth)
    await drained(suite)
    found = await analytics(suite, tenant, tenant.auth)
    assert list(found) == ["tenantId", "timeRange", "from", "to", "asOf", *ALL]
    assert counts(found["byRoute"], "route") == {
        "GET /api/v1/users": 3,
        "POST /api/v1/users": 1,
        "GET /api/v1/users/{user_id}": 1,
        "GET /api/v1/tenants/{id}/analytics": 1,
    }
    assert found["byRoute"][0]["responseTime"]["p95"] >= found["byRoute"][0]["responseTime"]["p50"] > 0
    assert counts(found["byUser"], "userId") == {str(viewer.id): 3, str(tenant.owner.id): 3}
    assert {row["kind"] for row in found["byUser"]} == {"member"}
    assert [row["hour"] for row in found["byHour"]] == list(range(24))
    assert sum(row["requests"] for row in found["byHour"]) == 6
    assert counts(found["byStatus"], "status") == {"200": 4, "201": 1, "404": 1}
    assert found["byFeature"] == [{"feature": "advanced_analytics", "requests": 1}]
    assert (await usage(suite, tenant))["features"] == {"advanced_analytics": 1}


async def test_analytics_needs_the_feature_which_a_refused_request_does_not_use(suite: Suite) -> None:
    """Catalogue 95."""
    tenant = await suite.tenant("premium")
    path = f"{TENANTS}/{tenant.id}/analytics"
    for headers in (tenant.auth, suite.operator):
        document = refused(await suite.client.get(path, headers=headers), 403, "feature_not_available")
        assert document["feature"] == "advanced_analytics"
        assert document["availableIn"] == ["enterprise", "custom"]
    await drained(suite)
    assert (await usage(suite, tenant))["features"] == {}


async def test_operators_see_no_users_but_inside_the_tenant(suite: Suite) -> None:
    tenant = await suite.tenant("enterprise")
    await ask(suite, tenant.auth)
    await drained(suite)
    path = f"{TENANTS}/{tenant.id}/analytics"
    by_user = await suite.client.get(path, params={"by": "user"}, headers=suite.operator)
    refused(by_user, 403, "act_as_required")
    assert "byUser" not in await analytics(suite, tenant, suite.operator)
    inside = await act_as(suite, tenant)
    shown = await analytics(suite, tenant, inside, by="user")
    assert counts(shown["byUser"], "userId") == {str(tenant.owner.id): 1}


async def test_one_breakdown_can_be_asked_for_and_the_busiest_of_it(suite: Suite) -> None:
    tenant = await suite.tenant("enterprise")
    ada, bob = new_id(), new_id()
    noon = day_of(datetime.now(UTC)) - DAY + 12 * HOUR
    await insert_records(suite.database, [past(tenant, noon, actor=actor) for actor in (ada, bob, bob)])
    found = await analytics(suite, tenant, tenant.auth, by="user", limit=1, timeRange="2d")
    assert counts(found["byUser"], "userId") == {str(bob): 2}
    assert set(found).isdisjoint(set(ALL) - {"byUser"})
    by_hour = await analytics(suite, tenant, tenant.auth, by="hour", timeRange="2d")
    assert counts(by_hour["byHour"], "hour")[12] == 3
    path = f"{TENANTS}/{tenant.id}/analytics"
    for unfit in ({"by": "name"}, {"limit": 0}, {"limit": 1001}, {"timeRange": "14m"}):
        refused(await suite.client.get(path, params=unfit, headers=tenant.auth), 422, "validation_failed")


async def test_analytics_come_as_csv_to_those_who_accept_it(suite: Suite) -> None:
    tenant = await suite.tenant("enterprise")
    await ask(suite, tenant.auth)
    await drained(suite)
    headers = tenant.auth | {"Accept": "text/csv"}
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/analytics", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="analytics-{tenant.slug}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert tuple(rows[0]) == COLUMNS
    first = rows[0]
    assert (first["dimension"], first["name"], first["requests"]) == ("route", "GET /api/v1/users", "1")
    assert {row["dimension"] for row in rows} == {"route", "user", "hour", "status"}


async def test_another_tenants_analytics_are_not_found(suite: Suite) -> None:
    """Catalogue 93."""
    tenant, other = await suite.tenant("enterprise"), await suite.tenant("enterprise")
    answer = await suite.client.get(f"{TENANTS}/{other.id}/analytics", headers=tenant.auth)
    refused(answer, 404, "tenant_not_found")


@given(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from("=+-@\t\r\x00").map(lambda sign: f"{sign}1")
)
def test_no_cell_of_a_csv_file_is_a_formula_and_each_can_be_read_back(name: str) -> None:
    """Catalogue 116."""
    route = RouteOut(
        route=name,
        response_time={"p50": None, "p95": None},  # type: ignore[arg-type]  # pydantic makes it one
        requests=1,
        errors=0,
        client_errors=0,
        rejected=0,
    )
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    found = AnalyticsOut(
        tenant_id=new_id(), time_range=None, from_=moment, to=moment, as_of=moment, by_route=[route]
    )
    rows = list(csv.reader(io.StringIO(csv_of(found), newline="")))
    cell = rows[1][1]
    assert cell[:1] not in tuple("=+-@\t\r\x00")
    assert cell == neutral(name)
    assert cell.removeprefix("'") == name.removeprefix("'")
    assert len(rows) == 2


def test_invented_methods_share_one_name() -> None:
    """Catalogue 136, the part of the ledger."""
    assert route_of("GET /api/v1/users") == "GET /api/v1/users"
    assert route_of("=CMD() unmatched") == route_of("X unmatched") == "OTHER unmatched"
