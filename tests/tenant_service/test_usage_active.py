"""Who was active in a range that is over: exact whatever was copied, and a row for each user where it was."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mis_tenancy.identifiers import new_id
from mis_tenancy.records.store import insert_records
from tenant_service.usage import copying_repository as copying
from tenant_service.usage import repository
from tenant_service.usage.jobs import DayCopies, UsageUpkeep
from tenant_service.usage.ranges import DAY, HOUR, KEPT, day_of, read_range
from tests.citus import one_postgres
from tests.database import connected
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle
from tests.tenant_service.test_usage import a_job, past, platform
from tests.tenant_service.test_usage_years import rows_read

TABLES = ("usage_hours", "usage_days", "usage_route_days", "usage_user_days", "usage_members")
COPIES = ("usage_member_days", "usage_copied_days")

Asked = tuple[UUID, datetime]


@pytest.fixture(autouse=True)
def _tenants_of_few_are_copied_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "FEW_USERS", 0)


@pytest.fixture
async def owner(test_servers: TestServers) -> AsyncIterator[Any]:
    async with connected(test_servers.database().owner) as connection:
        yield connection


def today() -> datetime:
    return day_of(datetime.now(UTC))


async def copy(suite: Suite) -> None:
    await DayCopies(platform(suite), suite.database).copy(a_job())


async def ask(suite: Suite, tenant: TenantHandle, *asked: Asked, **more: Any) -> None:
    await insert_records(suite.database, [past(tenant, at, actor=actor, **more) for actor, at in asked])


async def active(suite: Suite, tenant: TenantHandle, start: datetime, end: datetime) -> int:
    now = datetime.now(UTC)
    asked = read_range(None, start, end, now)
    return (await repository.found(suite.tenancy("tenant").reads, tenant.id, asked, now)).holding.active


async def held(owner: Any, tenant: TenantHandle, table: str) -> int:
    count: int = await owner.fetchval(
        f"select count(*) from {table} where tenant_id = $1",  # noqa: S608  # of the lists above
        tenant.id,
    )
    return count


# Few users, days and hours, so that they meet; some at the ends of what is kept and of the longest range.
_MOMENTS = st.builds(
    lambda days, hours: today() - days * DAY + hours * HOUR,
    st.sampled_from([1, 2, 3, 9, 10, 200, 399, 400, 428]),
    st.sampled_from([0, 1, 12, 23]),
)
_REQUEST = st.tuples(st.integers(0, 4), _MOMENTS)
_STEPS = st.lists(st.none() | st.lists(_REQUEST, min_size=1, max_size=6), max_size=6)
_LENGTHS = st.sampled_from([HOUR, 7 * HOUR, DAY, 47 * HOUR, 2 * DAY, 5 * DAY + HOUR, 190 * DAY, 400 * DAY])


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=_STEPS, asked=st.lists(st.tuples(_MOMENTS, _LENGTHS), min_size=1, max_size=6))
async def test_active_is_who_asked_in_the_range_in_whatever_order_it_came_and_was_copied(
    suite: Suite, owner: Any, steps: list[list[tuple[int, datetime]] | None], asked: list[Any]
) -> None:
    tenant = await the_tenant(suite)
    for table in (*TABLES, *COPIES):
        await owner.execute(f"delete from {table} where tenant_id = $1", tenant.id)  # noqa: S608  # as above
    users, seen = [new_id() for _ in range(5)], set()
    for batch in steps:
        if batch is None:
            await copy(suite)
        else:
            seen |= set(batch)
            await ask(suite, tenant, *((users[user], at) for user, at in batch))
    for start, length in asked:
        expected = {user for user, at in seen if start <= at < start + length}
        assert await active(suite, tenant, start, start + length) == len(expected)


_tenants: list[TenantHandle] = []


async def the_tenant(suite: Suite) -> TenantHandle:
    """Return one tenant for all examples, as making each its own would take most of the time."""
    if not _tenants:
        _tenants.append(await suite.tenant("custom"))
    return _tenants[0]


@one_postgres
async def test_a_range_that_was_copied_is_read_in_a_row_for_each_user(
    suite: Suite, test_servers: TestServers
) -> None:
    tenant, users = await suite.tenant("custom"), [new_id() for _ in range(8)]
    await ask(suite, tenant, *((user, today() - n * DAY) for user in users for n in range(1, 300, 7)))
    await copy(suite)
    year = {"from": (today() - 350 * DAY).isoformat(), "to": today().isoformat()}
    read = await rows_read(suite, test_servers, tenant, **year)
    assert (read["usage_member_days"], read["usage_user_days"]) == (8, 0)
    # Of a day that is in the range by some hours only the copy does not tell.
    beside = {"from": (today() - 350 * DAY).isoformat(), "to": (today() - DAY + 3 * HOUR).isoformat()}
    assert (await rows_read(suite, test_servers, tenant, **beside))["usage_user_days"] == 8


@one_postgres
async def test_a_late_record_shows_at_once_in_a_day_that_was_copied(
    suite: Suite, test_servers: TestServers
) -> None:
    tenant, ada, bob = await suite.tenant("custom"), new_id(), new_id()
    start, end = today() - 40 * DAY, today() - 30 * DAY
    asked = {"from": start.isoformat(), "to": end.isoformat()}
    await ask(suite, tenant, (ada, start), (ada, end), (bob, end))
    await copy(suite)
    assert await active(suite, tenant, start, end) == 1
    await ask(suite, tenant, (bob, start + HOUR))
    assert await active(suite, tenant, start, end) == 2
    assert (await rows_read(suite, test_servers, tenant, **asked))["usage_user_days"] == 2
    await copy(suite)
    assert await active(suite, tenant, start, end) == 2
    assert (await rows_read(suite, test_servers, tenant, **asked))["usage_user_days"] == 0


async def test_keys_and_operators_are_copied_as_little_as_they_are_counted(suite: Suite, owner: Any) -> None:
    tenant, day = await suite.tenant("custom"), today() - DAY
    for kind in ("api_key", "operator"):
        await ask(suite, tenant, (new_id(), day), actor_kind=kind)
    await copy(suite)
    assert await active(suite, tenant, day, day + DAY) == 0
    assert [await held(owner, tenant, table) for table in COPIES] == [0, 1]


async def test_what_arrives_while_days_are_copied_is_not_taken_for_copied(suite: Suite) -> None:
    tenant, ada, bob = await suite.tenant("custom"), new_id(), new_id()
    day, end = today() - DAY, today()
    await ask(suite, tenant, (ada, day))

    class Interrupted:
        """Something arrives after each statement of the copy."""

        def __init__(self, system: Any) -> None:
            self._system = system

        async def fetch(self, sql: str, *arguments: Any) -> Any:
            found = await self._system.fetch(sql, *arguments)
            await ask(suite, tenant, (bob if sql is copying._NOTE else new_id(), day))
            return found

    async with suite.database.system_transaction(tenant.id) as system:
        interrupted: Any = Interrupted(system)
        assert await copying.copy_some(interrupted, tenant.id, end - KEPT + DAY, end, 7) == 1
    assert await active(suite, tenant, day, end) == 3
    await copy(suite)
    assert await active(suite, tenant, day, end) == 3


async def test_two_workers_copy_at_once_and_a_day_longer_than_a_transaction_takes(
    suite: Suite, owner: Any
) -> None:
    tenant, users = await suite.tenant("custom"), [new_id() for _ in range(20)]
    await ask(suite, tenant, *((user, today() - n * DAY) for user in users for n in range(1, 16)))
    await asyncio.gather(copy(suite), copy(suite))
    assert await held(owner, tenant, "usage_copied_days") == 15
    assert await active(suite, tenant, today() - 15 * DAY, today() - 14 * DAY) == 20
    bits = await owner.fetch("select last_day, days from usage_member_days where tenant_id = $1", tenant.id)
    assert {(row["last_day"], row["days"].as_string().replace(" ", "").rstrip("0")) for row in bits} == {
        ((today() - DAY).date(), "1" * 15)
    }


async def test_tenants_of_few_users_and_the_present_day_are_left_to_the_ledger(
    suite: Suite, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = await suite.tenant("custom"), await suite.tenant("custom")
    await suite.user(many)
    monkeypatch.setattr(copying, "FEW_USERS", 1)
    for tenant in (few, many):
        await ask(suite, tenant, (new_id(), today() - DAY), (new_id(), today()))
    await copy(suite)
    assert [await held(owner, few, table) for table in COPIES] == [0, 0]
    assert [await held(owner, many, table) for table in COPIES] == [1, 1]


async def test_retention_forgets_the_days_of_a_copy_one_by_one(suite: Suite, owner: Any) -> None:
    tenant, ada = await suite.tenant("custom"), new_id()
    left, gone = today() - 20 * DAY, [today() - KEPT, today() - 2 * KEPT]
    # From the left: 20 days ago, the last day that is kept, and the two before.
    bits = "1" + "0" * 408 + "111" + "0" * 18
    insert = "insert into usage_member_days values ($1, $2, $3, $4::text::bit(430))"
    await owner.execute(insert, tenant.id, ada, left.date(), bits)
    for day in gone:
        await owner.execute(insert, tenant.id, new_id(), day.date(), bits)
        await owner.execute("insert into usage_copied_days values ($1, $2, 9)", tenant.id, day)
    await owner.execute("insert into usage_copied_days values ($1, $2, 9)", tenant.id, left)
    for _ in range(2):
        await UsageUpkeep(platform(suite)).forget(a_job())
        ((user, kept),) = await owner.fetch(
            "select user_id, days::text from usage_member_days where tenant_id = $1", tenant.id
        )
        assert (user, kept.rstrip("0")) == (ada, "1" + "0" * 408 + "1")
        assert await held(owner, tenant, "usage_copied_days") == 1
