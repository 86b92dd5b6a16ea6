"""Long ranges of usage: read in few rows, and never by a month's row that is behind its days."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_tenancy.identifiers import new_id
from mis_tenancy.postgres.door import StatementDoor
from mis_tenancy.records.store import insert_records
from tenant_service.usage.jobs import UsageUpkeep
from tenant_service.usage.ranges import DAY, HOUR, TimeRange, day_of, month_of
from tests.citus import one_postgres
from tests.database import bound, connected
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle
from tests.tenant_service.test_usage import a_job, past, platform, usage

DAYS = 400


async def fill(servers: TestServers, tenant: TenantHandle) -> None:
    """Give the tenant counts on each of the last 400 days, as the owner of the tables."""
    today = day_of(datetime.now(UTC))
    async with connected(servers.database().owner) as owner:
        await owner.executemany(
            "insert into usage_days (tenant_id, day, requests, errors, latency, features) "
            "values ($1, $2, $3, 1, $4, $5)",
            [
                (
                    tenant.id,
                    today - number * DAY,
                    3 + number,
                    json.dumps({str(40 + number % 50): 2 + number, "7": 1}),
                    json.dumps({"advanced_analytics": number} if number % 3 else {}),
                )
                for number in range(DAYS)
            ],
        )
        await owner.executemany(
            "insert into usage_levels (tenant_id, day, users, storage_bytes, hours) "
            "values ($1, $2, 1, $3, $4)",
            [
                (tenant.id, today - n * DAY, n, json.dumps({"5": [1, n + 1], "20": [1, n]}))
                for n in range(DAYS)
            ],
        )
        await owner.execute(
            "update tenants set created_at = now() - interval '3 years' where id = $1", tenant.id
        )
        await owner.execute("analyze usage_days, usage_levels")


def told(answer: Any) -> Any:
    """Return what an answer says, without the moment at which it was asked."""
    return {name: value for name, value in answer.items() if name != "asOf"}


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Collect what the tenant service asks Postgres meanwhile through its statement door."""
    asked: list[tuple[str, Any]] = []
    render = StatementDoor.render

    def note(door: StatementDoor, *given: Any) -> Any:
        asked.append(render(door, *given))
        return asked[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StatementDoor, "render", note)
        yield asked


def scanned(node: Any) -> Iterator[tuple[str, int]]:
    """Yield each table of the usage ledger in a plan, and how many of its rows were read."""
    if str(node.get("Relation Name", "")).startswith("usage_"):
        read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        yield node["Relation Name"], round(read * node["Actual Loops"])
    for inner in node.get("Plans", ()):
        yield from scanned(inner)


async def rows_read(suite: Suite, servers: TestServers, tenant: TenantHandle, **asked: Any) -> dict[str, int]:
    """Return the most rows of each table that one statement reads to answer what is asked."""
    with statements() as sent:
        await usage(suite, tenant, **asked)
    most: dict[str, int] = {}
    async with bound(servers.database().app, tenant.id) as connection:
        # A test's tables are so small that reading them whole would be the quickest.
        await connection.execute("set local enable_seqscan = off")
        for statement, parameters in sent:
            if "usage_" in statement:
                explain = f"explain (analyze, format json) {statement}"
                (plan,) = msgspec.json.decode(await connection.fetchval(explain, *parameters))
                for table, rows in scanned(plan["Plan"]):
                    most[table] = max(rows, most.get(table, 0))
    return most


@one_postgres
async def test_thirty_days_read_at_most_thirty_one_rows_of_a_metric(
    suite: Suite, test_servers: TestServers
) -> None:
    tenant = await suite.tenant("custom")
    await fill(test_servers, tenant)
    read = await rows_read(suite, test_servers, tenant, timeRange="30d")
    assert (read["usage_hours"], read["usage_months"]) == (0, 0)
    assert 30 <= max(read.values()) <= 31


@one_postgres
async def test_a_year_reads_one_row_a_month_and_those_of_the_days_beside(
    suite: Suite, test_servers: TestServers
) -> None:
    tenant = await suite.tenant("custom")
    await fill(test_servers, tenant)
    upkeep = UsageUpkeep(platform(suite))
    by_days = {asked: told(await usage(suite, tenant, timeRange=asked)) for asked in ("12m", "400d", "30d")}
    await upkeep.add_up(a_job())
    by_months = {asked: told(await usage(suite, tenant, timeRange=asked)) for asked in by_days}
    assert by_months == by_days
    year = by_months["12m"]
    assert year["api"]["requests"] == sum(point["requests"] for point in year["series"])
    assert [point["storageBytes"] for point in year["series"][-3:-1]] == [2, 1]
    with statements() as sent:
        await usage(suite, tenant, timeRange="12m")
    assert len([statement for statement, _ in sent if "usage_" in statement]) == 1
    assert (await rows_read(suite, test_servers, tenant, timeRange="12m"))["usage_months"] in (11, 12)


async def test_a_late_record_shows_at_once_in_a_month_that_was_added_up(
    suite: Suite, test_servers: TestServers
) -> None:
    tenant = await suite.tenant("custom")
    await fill(test_servers, tenant)
    upkeep = UsageUpkeep(platform(suite))
    await upkeep.add_up(a_job())
    before = await usage(suite, tenant, timeRange="12m")
    last_month = month_of(datetime.now(UTC)) - 3 * DAY
    await insert_records(
        suite.database, [past(tenant, last_month, actor=new_id(), feature="custom_branding")]
    )
    after = await usage(suite, tenant, timeRange="12m")
    assert after["api"]["requests"] == before["api"]["requests"] + 1
    assert after["features"] == before["features"] | {"custom_branding": 1}
    await upkeep.add_up(a_job())
    with statements() as sent:
        assert told(await usage(suite, tenant, timeRange="12m")) == told(after)
    assert sum("usage_days.latency" in statement for statement, _ in sent) == 1


async def test_months_are_added_up_once_and_only_where_something_was_counted(suite: Suite) -> None:
    tenant, idle = await suite.tenant(), await suite.tenant()
    now = datetime.now(UTC)
    moments = [now - timedelta(days=70), now - timedelta(days=200), now]
    await insert_records(suite.database, [past(tenant, moment, actor=new_id()) for moment in moments])
    upkeep = UsageUpkeep(platform(suite))

    async def stored(one: TenantHandle) -> list[Any]:
        async with suite.database.system_transaction(one.id) as system:
            return await system.fetch("select *, xmin::text from usage_months order by month")

    await upkeep.add_up(a_job())
    first = await stored(tenant)
    assert [(row["month"], row["requests"]) for row in first] == [
        (month_of(moment), 1) for moment in sorted(moments[:2])
    ]
    assert await stored(idle) == []
    await upkeep.add_up(a_job())
    assert await stored(tenant) == first


MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1)).map(  # noqa: DTZ001  # made aware below
    lambda moment: moment.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
)


@given(start=MOMENTS, hours=st.integers(1, 400 * 24), now=MOMENTS)
def test_a_range_falls_apart_into_hours_days_and_months_without_gap_or_overlap(
    start: datetime, hours: int, now: datetime
) -> None:
    asked = TimeRange(start, start + hours * HOUR)
    first, last = asked.days
    spans = sorted([*asked.hours, *([(first, last)] if first < last else [])])
    assert (spans[0][0], spans[-1][1]) == (asked.start, asked.end)
    assert all(one[1] == following[0] for one, following in pairwise(spans))
    begun, ended = asked.whole_months(now)
    months = [(begun, begun), *asked.months(now)]
    assert months[-1][1] == ended or begun == ended
    assert all(month[1] == following[0] for month, following in pairwise(months))
    if begun < ended:
        assert first <= begun
        assert ended <= min(last, now)
        assert (begun, ended) == (month_of(begun), month_of(ended))
        # No whole month is left out on either side.
        assert begun - first < 31 * DAY
        assert ended > min(last, now) - 31 * DAY


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-25T12", ("2025-12-01", "2026-11-01")),
        ("2026-12-01T00", ("2026-01-01", "2026-12-01")),
        ("2026-01-31T23", ("2025-02-01", "2026-01-01")),
    ],
)
def test_the_present_month_is_never_read_whole(now: str, expected: tuple[str, str]) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    end = day_of(moment) + DAY
    asked = TimeRange(end - 365 * DAY, end)
    assert tuple(f"{edge:%Y-%m-%d}" for edge in asked.whole_months(moment)) == expected
