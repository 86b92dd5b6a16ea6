"""Usage of a tenant: one ledger for what is limited, shown and billed, and audit rows to hold it against."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from mis_jobs.jobs import Job
from mis_tenancy.audit import AuditRecord
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.records.store import insert_records
from tenant_service.usage.jobs import UsageUpkeep
from tenant_service.usage.ranges import DAY, HOUR, day_of, hour_of
from tenant_service.usage.schemas import UsageOut
from tests.answers import fine, refused
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, running_suite
from tests.tenant_service.requests import TENANTS, fields


async def usage(suite: Suite, tenant: TenantHandle, headers: Any = None, **query: Any) -> Any:
    """Return the usage; unless `headers` are given the operator asks, whose requests are not the tenant's."""
    path = f"{TENANTS}/{tenant.id}/usage"
    return fine(await suite.client.get(path, params=query, headers=headers or suite.operator))


async def drained(suite: Suite) -> None:
    """Bring everything that the services have recorded into Postgres."""
    for service in suite.apps:
        await suite.tenancy(service).recorder.flush()


async def ask(suite: Suite, headers: dict[str, str], path: str = "/api/v1/users") -> int:
    return (await suite.client.get(path, headers=headers)).status_code


def past(tenant: TenantHandle, moment: datetime, **more: Any) -> AuditRecord:
    """Return the record of a request that was answered at `moment`."""
    given: dict[str, Any] = {
        "status": 200,
        "outcome": "success",
        "duration_us": 4_000,
        "actor_kind": "member",
    } | more
    identifier = new_id(int(moment.timestamp() * 1000))
    return AuditRecord(tenant.id, "request", "GET /api/v1/users", id=identifier, counted=True, **given)


async def logged(suite: Suite, tenant: TenantHandle, condition: str = "true") -> int:
    """Return how many request rows the audit log has."""
    question = f"select count(*) as n from audit_logs where kind = 'request' and {condition}"  # noqa: S608
    async with suite.database.system_transaction(tenant.id) as system:
        return int((await system.fetch(question))[0]["n"])


def platform(suite: Suite) -> Database:
    database: Database = suite.apps["tenant"].state.platform
    return database


def a_job() -> Job:
    return Job(new_id(), None, "usage_levels", {}, 1)


async def test_usage_has_the_shape_of_the_contract(suite: Suite) -> None:
    tenant = await suite.tenant()
    found = await usage(suite, tenant)
    assert list(found) == [
        *("tenantId", "timeRange", "from", "to", "interval", "asOf", "users", "storage", "api"),
        *("features", "series"),
    ]
    assert (found["tenantId"], found["timeRange"], found["interval"]) == (str(tenant.id), "30d", "day")
    assert found["users"] == {"total": 1, "active": 0, "limit": 100, "growth": 1}
    assert found["storage"] == {"usedBytes": 0, "limitBytes": 10 * 2**30, "files": 0}
    assert found["api"] == {
        "requests": 0,
        "errors": 0,
        "clientErrors": 0,
        "rejected": 0,
        "errorRate": 0.0,
        "responseTime": {"p50": None, "p95": None},
        "limitPerDay": 1000,
        "usedToday": 0,
    }
    assert found["features"] == {}
    assert len(found["series"]) == 30
    assert all(point["requests"] == 0 for point in found["series"])
    assert found["series"][0]["start"] == found["from"]
    assert [point["users"] for point in found["series"][-2:]] == [0, 1]


async def test_usage_is_the_ledger_is_the_audit_log_is_the_limiters_count(suite: Suite) -> None:
    tenant = await suite.tenant()
    member = await suite.user(tenant, "viewer")
    statuses = [await ask(suite, tenant.auth) for _ in range(3)]
    statuses += [await ask(suite, member.auth, f"/api/v1/users/{new_id()}") for _ in range(2)]
    assert statuses == [200, 200, 200, 404, 404]
    await drained(suite)
    before = await usage(suite, tenant)
    assert before["api"]["requests"] == await logged(suite, tenant) == before["api"]["usedToday"]
    assert before["api"]["clientErrors"] == 2
    assert before["users"] == {"total": 2, "active": 2, "limit": 100, "growth": 2}
    assert sum(point["requests"] for point in before["series"]) == before["api"]["requests"]
    assert before["api"]["responseTime"]["p50"] > 0

    redis = suite.tenancy().redis
    assert redis is not None
    await redis.command("FLUSHDB")
    answer = await suite.client.get("/api/v1/users", headers=tenant.auth)
    assert int(answer.headers["x-ratelimit-remaining"]) == 1000 - before["api"]["requests"] - 1
    await drained(suite)
    after = await usage(suite, tenant)
    assert after["api"]["requests"] == await logged(suite, tenant) == before["api"]["requests"] + 1
    assert after["api"]["usedToday"] == after["api"]["requests"]
    today = datetime.now(UTC).date()
    assert await suite.tenancy().ledger.counted_on(tenant.id, today) == after["api"]["usedToday"]


async def test_the_limiters_word_on_the_request_that_asks_is_todays_use(suite: Suite) -> None:
    tenant = await suite.tenant()
    for _ in range(4):
        answer = await suite.client.get(f"{TENANTS}/{tenant.id}/usage", headers=tenant.auth)
        assert fine(answer)["api"]["usedToday"] == 1000 - int(answer.headers["x-ratelimit-remaining"])


async def test_usage_goes_on_beside_a_spool_whose_disk_was_lost(suite: Suite) -> None:
    tenant = await suite.tenant()
    assert [await ask(suite, tenant.auth) for _ in range(3)] == [200] * 3
    await drained(suite)
    shutil.rmtree(suite.tenancy("user").recorder._spool.home)
    await drained(suite)
    assert [await ask(suite, tenant.auth) for _ in range(4)] == [200] * 4
    await drained(suite)
    found = await usage(suite, tenant)
    assert found["api"]["requests"] == await logged(suite, tenant) == found["api"]["usedToday"] == 7
    assert suite.tenancy("user").recorder.pending == 0


async def test_while_processes_decide_alone_todays_use_is_what_the_ledger_has(
    test_servers: TestServers, tmp_path: Path
) -> None:
    async with running_suite(test_servers, tmp_path, redis_url=None, expected_processes=4) as suite:
        tenant = await suite.tenant()
        assert [await ask(suite, tenant.auth) for _ in range(3)] == [200] * 3
        await drained(suite)
        answer = await suite.client.get(f"{TENANTS}/{tenant.id}/usage", headers=tenant.auth)
        # A part of the limit is left to this process, which says nothing of the tenant's whole day.
        assert answer.headers["x-ratelimit-mode"] == "local"
        assert fine(answer)["api"]["usedToday"] == 3


async def test_a_request_shows_without_anybody_asking_for_it(suite: Suite) -> None:
    tenant = await suite.tenant()
    assert await ask(suite, tenant.auth) == 200
    async with asyncio.timeout(5):
        while (await usage(suite, tenant))["api"]["requests"] < 1:  # noqa: ASYNC110  # as a client would
            await asyncio.sleep(0.1)


async def test_rejected_requests_count_apart_and_use_up_nothing(suite: Suite) -> None:
    tenant = await suite.tenant()
    body = {"configKey": "api.rate_limit", "configValue": 3, "isEncrypted": False}
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=suite.operator))
    statuses = [await ask(suite, tenant.auth) for _ in range(6)]
    assert statuses.count(429) == 3
    await drained(suite)
    found = (await usage(suite, tenant))["api"]
    assert (found["requests"], found["rejected"], found["clientErrors"], found["usedToday"]) == (6, 3, 3, 3)
    assert found["limitPerDay"] == 3


async def test_ranges_are_half_open_and_read_days_and_hours_alike(suite: Suite) -> None:
    tenant = await suite.tenant()
    today = day_of(datetime.now(UTC))
    first = today - 10 * DAY + 5 * HOUR
    instant = timedelta(milliseconds=1)
    moments = [first - instant, first, first + 3 * DAY, today - HOUR - instant]
    await insert_records(suite.database, [past(tenant, moment) for moment in [*moments, today - HOUR]])
    asked = {"from": first.isoformat(), "to": (today - HOUR).isoformat()}
    found = await usage(suite, tenant, **asked)
    assert found["api"]["requests"] == 3
    assert found["interval"] == "day"
    assert found["from"] == f"{first:%Y-%m-%dT%H}:00:00Z"
    assert [point["requests"] for point in found["series"]] == [1, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    by_hour = await usage(suite, tenant, **{"from": first.isoformat(), "to": (first + 2 * HOUR).isoformat()})
    assert by_hour["interval"] == "hour"
    assert [point["requests"] for point in by_hour["series"]] == [1, 0]
    assert (await usage(suite, tenant, timeRange="11d"))["api"]["requests"] == 5


async def test_users_are_active_in_the_hours_in_which_they_asked(suite: Suite) -> None:
    tenant = await suite.tenant()
    ada, bob, key = new_id(), new_id(), new_id()
    today = day_of(datetime.now(UTC))
    noon = today - 5 * DAY + 12 * HOUR
    await insert_records(
        suite.database,
        [
            *(past(tenant, noon + hours * HOUR, actor=ada) for hours in (0, 1, 30)),
            past(tenant, noon + 2 * HOUR, actor=bob),
            past(tenant, noon, actor=key, actor_kind="api_key"),
        ],
    )

    async def active(start: datetime, end: datetime | None) -> int:
        query = {"from": start.isoformat()} | ({} if end is None else {"to": end.isoformat()})
        found: int = (await usage(suite, tenant, **query))["users"]["active"]
        return found

    assert await active(noon, noon + HOUR) == 1
    assert await active(noon, noon + 3 * HOUR) == 2
    assert await active(noon + 3 * HOUR, noon + 4 * HOUR) == 0
    assert await active(noon - DAY - HOUR, noon + 2 * DAY) == 2
    assert await active(noon + 3 * HOUR, noon + 3 * DAY) == 1
    assert await active(noon + 2 * HOUR, None) == 2
    assert await active(noon + 3 * HOUR, None) == 1
    assert await active(noon + 31 * HOUR, None) == 0


async def test_a_record_that_arrives_late_or_twice_counts_once_in_its_own_time(suite: Suite) -> None:
    tenant = await suite.tenant()
    yesterday = day_of(datetime.now(UTC)) - 7 * HOUR
    records = [past(tenant, yesterday, actor=new_id(), feature="advanced_analytics") for _ in range(250)]
    await insert_records(suite.database, records[:120])
    await asyncio.gather(*(insert_records(suite.database, records[start:]) for start in (0, 60, 200)))
    found = await usage(suite, tenant, timeRange="2d")
    assert found["api"]["requests"] == await logged(suite, tenant) == 250
    assert found["features"] == {"advanced_analytics": 250}
    assert [point["requests"] for point in found["series"] if point["requests"]] == [250]
    assert found["users"]["active"] == 250
    about_4_ms = pytest.approx(4, rel=1 / 16)
    assert found["api"]["responseTime"] == {"p50": about_4_ms, "p95": about_4_ms}


async def test_every_table_of_the_ledger_adds_up_to_the_audit_log(suite: Suite) -> None:
    tenant = await suite.tenant()
    start = day_of(datetime.now(UTC)) - 3 * DAY
    records = [
        past(
            tenant,
            start + number * timedelta(minutes=37),
            status=(200, 201, 404, 429, 500, None)[number % 6],
            actor=UUID(int=number % 7 + 1),
            duration_us=None if number % 6 == 5 else number * 311,
        )
        for number in range(100)
    ]
    for begin in range(0, 100, 9):
        await insert_records(suite.database, records[max(0, begin - 4) : begin + 9])
    sums = "sum(requests)::int, sum(errors)::int, sum(client_errors)::int, sum(rejected)::int"
    async with suite.database.system_transaction(tenant.id) as system:
        found = {
            table: tuple((await system.fetch(f"select {sums} from {table}"))[0])  # noqa: S608
            for table in ("usage_hours", "usage_days", "usage_route_days", "usage_user_days")
        }
        inside = await system.fetch(
            "select (select sum(v::int) from usage_days, jsonb_each_text(statuses) as e(k, v)) as statuses, "
            "(select sum(v::int) from usage_days, jsonb_each_text(hours) as e(k, v)) as hours, "
            "(select sum(v::int) from usage_days, jsonb_each_text(latency) as e(k, v)) as days, "
            "(select sum(v::int) from usage_hours, jsonb_each_text(latency) as e(k, v)) as hourly, "
            "(select sum(v::int) from usage_route_days, jsonb_each_text(latency) as e(k, v)) as routes"
        )
    assert set(found.values()) == {(100, 16, 34, 17)}
    assert tuple(inside[0]) == (100, 100, 84, 84, 84)
    assert await logged(suite, tenant) == 100


async def test_levels_are_noted_once_per_change_and_tell_growth(suite: Suite) -> None:
    tenant = await suite.tenant()
    upkeep = UsageUpkeep(platform(suite))
    today = day_of(datetime.now(UTC))
    async with platform(suite).transaction(tenant.id) as session:
        await session.execute(
            text("update tenants set created_at = now() - interval '60 days' where id = :id"),
            {"id": tenant.id},
            execution_options={"unscoped": True},
        )
    for _ in range(2):
        await upkeep.note_levels(a_job())
    async with platform(suite).platform_transaction() as session:
        noted = text("select * from usage_levels where tenant_id = :id")
        rows = (await session.execute(noted, {"id": tenant.id})).all()
        assert [(row.day, row.users, list(row.hours.values())) for row in rows] == [(today, 1, [[1, 0]])]
        await session.execute(
            text(
                'insert into usage_levels values (:id, :then, 5, 70, \'{"3": [9, 10], "20": [5, 70]}\'), '
                "(:id, :later, 3, 80, '{\"1\": [3, 80]}')"
            ),
            {"id": tenant.id, "then": today - 40 * DAY, "later": today - 2 * DAY},
        )
    await suite.user(tenant)
    found = await usage(suite, tenant)
    assert found["users"]["growth"] == 2 - 5
    assert [(point["users"], point["storageBytes"]) for point in found["series"][-4:]] == [
        *((5, 70), (3, 80), (3, 80), (2, 0)),
    ]
    then = today - 40 * DAY
    asked = {"from": (then + 2 * HOUR).isoformat(), "to": (then + 5 * HOUR).isoformat()}
    assert [point["users"] for point in (await usage(suite, tenant, **asked))["series"]] == [9, 9, 9]
    later = {"from": (then + 4 * HOUR).isoformat(), "to": (then + DAY).isoformat()}
    assert (await usage(suite, tenant, **later))["users"]["growth"] == 5 - 9


async def test_retention_forgets_what_no_range_reaches(suite: Suite) -> None:
    tenant = await suite.tenant()
    now = datetime.now(UTC)
    old, recent = now - timedelta(days=431), now - timedelta(days=399)
    await insert_records(suite.database, [past(tenant, moment, actor=new_id()) for moment in (old, recent)])
    await UsageUpkeep(platform(suite)).forget(a_job())
    async with suite.database.system_transaction(tenant.id) as system:
        counts = {
            table: (await system.fetch(f"select count(*)::int as n from {table}"))[0]["n"]  # noqa: S608
            for table in ("usage_hours", "usage_days", "usage_route_days", "usage_user_days", "usage_members")
        }
    assert counts == {
        "usage_hours": 1,
        "usage_days": 2,
        "usage_route_days": 1,
        "usage_user_days": 1,
        "usage_members": 1,
    }


async def test_a_range_whose_hours_are_forgotten_is_read_by_the_day(suite: Suite) -> None:
    tenant = await suite.tenant()
    then = day_of(datetime.now(UTC)) - 500 * DAY + 5 * HOUR
    await insert_records(suite.database, [past(tenant, then), past(tenant, then + DAY)])
    await UsageUpkeep(platform(suite)).forget(a_job())
    asked = {"from": then.isoformat(), "to": (then + 2 * HOUR).isoformat()}
    found = await usage(suite, tenant, **asked)
    assert (found["interval"], found["api"]["requests"]) == ("day", 1)
    assert (found["from"], found["to"]) == (f"{then:%Y-%m-%d}T00:00:00Z", f"{then + DAY:%Y-%m-%d}T00:00:00Z")
    assert [point["requests"] for point in found["series"]] == [1]
    asked = {"from": then.isoformat(), "to": (then + 3 * DAY).isoformat()}
    assert (await usage(suite, tenant, **asked))["api"]["requests"] == 2


async def test_another_tenants_usage_is_not_found_and_permission_is_needed(suite: Suite) -> None:
    """Catalogue 93."""
    tenant, other = await suite.tenant(), await suite.tenant()
    answer = await suite.client.get(f"{TENANTS}/{other.id}/usage", headers=tenant.auth)
    refused(answer, 404, "tenant_not_found")
    refused(await suite.client.get(f"{TENANTS}/{tenant.id}/usage"), 401, "authentication_required")
    assert (await usage(suite, tenant, (await suite.user(tenant, "viewer")).auth))["users"]["total"] == 2
    by_slug = await suite.client.get(f"{TENANTS}/{tenant.slug}/usage", headers=tenant.auth)
    assert fine(by_slug)["tenantId"] == str(tenant.id)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"timeRange": "401d"}, "timeRange"),
        ({"timeRange": "0h"}, "timeRange"),
        ({"timeRange": "soon"}, "timeRange"),
        ({"timeRange": "x" * 99}, "timeRange"),
        ({"timeRange": "30d", "from": "2026-01-01T00:00:00Z"}, "timeRange"),
        ({"from": "2026-01-01T00:00:00"}, "from"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"to": "2026-01-01T00:00:00Z"}, "from"),
        ({"from": "0001-01-01T00:00:00+14:00", "to": "2026-01-01T00:00:00Z"}, "from"),
    ],
)
async def test_a_range_that_is_none_is_422_and_names_its_field(
    suite: Suite, query: dict[str, str], field: str
) -> None:
    path = f"{TENANTS}/{new_id()}/usage"
    tenant = await suite.tenant()
    for route in ("usage", "analytics"):
        path = f"{TENANTS}/{tenant.id}/{route}"
        told = refused(await suite.client.get(path, params=query, headers=suite.operator), *UNFIT[route])
        if route == "usage":
            assert fields(told)[0][0] == field


UNFIT = {"usage": (422, "validation_failed"), "analytics": (403, "feature_not_available")}


async def test_the_present_hour_is_in_every_called_range(suite: Suite) -> None:
    tenant = await suite.tenant()
    await ask(suite, tenant.auth)
    await drained(suite)
    for called in ("1h", "24h", "1d", "1w", "1m", "12m", "400d"):
        assert (await usage(suite, tenant, timeRange=called))["api"]["requests"] == 1, called
    ended = hour_of(datetime.now(UTC))
    before = {"from": (ended - DAY).isoformat(), "to": ended.isoformat()}
    assert (await usage(suite, tenant, **before))["api"]["requests"] == 0


@pytest.mark.parametrize("asked", ["24h", "30d", "12m"])
async def test_usage_is_written_as_its_schema_says(suite: Suite, asked: str) -> None:
    tenant = await suite.tenant("basic")
    await ask(suite, tenant.auth)
    await drained(suite)
    path = f"{TENANTS}/{tenant.id}/usage"
    answer = await suite.client.get(path, params={"timeRange": asked}, headers=suite.operator)
    document = answer.json()
    # The schema gives `from` its name where it writes it, not where it reads it.
    described = UsageOut.model_validate(
        {"from_" if name == "from" else name: document[name] for name in document}
    )
    assert described.model_dump_json(by_alias=True) == answer.text
