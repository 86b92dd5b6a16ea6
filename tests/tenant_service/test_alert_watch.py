"""The watch over what happens in tenants: it sees everything, once, however many watch."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from mis_accounts.seats import claim_seats
from mis_models.alerts import AlertRow
from mis_models.work import JobRow
from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.session import TenantSession
from tenant_service.alerts import book, watch_repository
from tenant_service.alerts.book import NOTICE
from tenant_service.alerts.watch import Watch
from tests.answers import fine, refused
from tests.auth_service.requests import refresh, sign_in
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, patch
from tests.tenant_service.test_alert_book import alerts
from tests.tenant_service.test_alert_book import events as alert_events
from tests.tenant_service.test_alerts import listed
from tests.tenant_service.test_usage import drained


def platform(suite: Suite) -> Database:
    database: Database = suite.apps["tenant"].state.platform
    return database


@pytest.fixture(scope="module")
async def watch(suite: Suite) -> Watch:
    """A watch that has caught up with what other tests have done."""
    watch = Watch(platform(suite), suite.database)
    await watch.look()
    return watch


async def look(suite: Suite, *watches: Watch) -> None:
    await drained(suite)
    await asyncio.gather(*(one.look() for one in watches))


async def thresholds(suite: Suite, tenant: TenantHandle, status: str = "open") -> list[tuple[str, int]]:
    found = [row for row in await alerts(suite, tenant.id) if (row.kind, row.status) == ("limit", status)]
    return sorted((row.subject, row.threshold or 0) for row in found)


async def add_users(suite: Suite, tenant: TenantHandle, count: int) -> list[str]:
    bodies = [{"email": f"u{n}-{count}@{tenant.slug}.example", "name": "U"} for n in range(count)]
    answers = [await suite.client.post("/api/v1/users", json=body, headers=tenant.auth) for body in bodies]
    return [str(fine(answer, 201)["id"]) for answer in answers]


async def remove_users(suite: Suite, tenant: TenantHandle, ids: list[str]) -> None:
    for user_id in ids:
        fine(await suite.client.delete(f"/api/v1/users/{user_id}", headers=tenant.auth), 204)


async def test_users_open_an_alert_for_each_threshold_once_and_end_it_below(
    suite: Suite, watch: Watch
) -> None:
    tenant = await suite.tenant(maxUsers=10)
    await add_users(suite, tenant, 6)
    await look(suite, watch)
    assert await thresholds(suite, tenant) == []
    [eighth] = await add_users(suite, tenant, 1)
    await look(suite, watch)
    assert await thresholds(suite, tenant) == [("users", 80)]
    more = await add_users(suite, tenant, 2)
    await look(suite, watch)
    assert await thresholds(suite, tenant) == [("users", 80), ("users", 90), ("users", 100)]
    await remove_users(suite, tenant, [eighth, *more])
    await look(suite, watch)
    assert await thresholds(suite, tenant) == []
    assert await thresholds(suite, tenant, "resolved") == [("users", 80), ("users", 90), ("users", 100)]
    # Full again on the same day is no news.
    await add_users(suite, tenant, 3)
    await look(suite, watch)
    assert await thresholds(suite, tenant) == []


async def test_a_limit_that_is_lowered_or_raised_counts_at_once(suite: Suite, watch: Watch) -> None:
    tenant = await suite.tenant()
    await add_users(suite, tenant, 7)
    await look(suite, watch)
    assert await thresholds(suite, tenant) == []
    fine(await patch(suite, tenant, tenant.auth, maxUsers=9))
    await look(suite, watch)
    assert await thresholds(suite, tenant) == [("users", 80)]
    fine(await patch(suite, tenant, suite.operator, maxUsers=100))
    await look(suite, watch)
    assert await thresholds(suite, tenant) == []


async def set_daily_limit(suite: Suite, tenant: TenantHandle, limit: int) -> None:
    body = {"configKey": "api.rate_limit", "configValue": limit}
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=suite.operator))


async def test_the_requests_of_a_day_open_alerts_against_the_limit_in_force(
    suite: Suite, watch: Watch
) -> None:
    tenant = await suite.tenant()
    for _ in range(8):
        fine(await suite.client.get("/api/v1/users", headers=tenant.auth))
    await look(suite, watch)
    assert await alerts(suite, tenant.id) == []
    # The platform may not read the tenant's configuration; the watch heeds it all the same, and at once.
    await set_daily_limit(suite, tenant, 10)
    await look(suite, watch)
    assert [row.threshold for row in await alerts(suite, tenant.id)] == [80]
    await set_daily_limit(suite, tenant, 900)
    await look(suite, watch)
    assert [row.status for row in await alerts(suite, tenant.id)] == ["resolved"]


async def test_storage_opens_alerts(suite: Suite, watch: Watch) -> None:
    tenant = await suite.tenant(maxStorage=1)
    async with suite.database.transaction(tenant.id) as session:
        await session.execute(
            text("update tenant_counters set storage_bytes = 900 * 1024 * 1024 * 1.05"),
            execution_options={"unscoped": True},
        )
        note_change(session)
    await look(suite, watch)
    assert await thresholds(suite, tenant) == [("storage", 80), ("storage", 90)]


def note_change(session: TenantSession) -> None:
    record_change(session, action="test.changed", actor=None, actor_kind=None)


async def test_however_many_watch_at_once_each_alert_is_opened_once(suite: Suite, watch: Watch) -> None:
    tenants = [await suite.tenant(maxUsers=1) for _ in range(3)]
    others = [Watch(platform(suite), suite.database) for _ in range(4)]
    await drained(suite)
    await asyncio.gather(*(one.look() for one in (watch, *others)))
    await look(suite, *others)
    for tenant in tenants:
        assert sorted((row.subject, row.threshold) for row in await alerts(suite, tenant.id)) == [
            ("users", 80),
            ("users", 90),
            ("users", 100),
        ]


async def test_a_change_that_commits_after_a_later_one_was_seen_is_not_missed(
    suite: Suite, watch: Watch
) -> None:
    slow, quick = await suite.tenant(maxUsers=2), await suite.tenant(maxUsers=2)
    await look(suite, watch)
    async with suite.database.transaction(slow.id) as session:
        await claim_seats(session)
        note_change(session)
        await session.flush()
        await add_users(suite, quick, 1)
        await look(suite, watch)
        await look(suite, watch)
        assert ("users", 100) in await thresholds(suite, quick)
    assert await thresholds(suite, slow) == []
    await look(suite, watch)
    assert ("users", 100) in await thresholds(suite, slow)


async def test_a_worker_that_takes_over_knows_the_configuration_that_another_saw_change(
    suite: Suite, watch: Watch
) -> None:
    tenant = await suite.tenant()
    successor = Watch(platform(suite), suite.database)
    fine(await suite.client.get("/api/v1/users", headers=tenant.auth))
    await look(suite, successor)
    await set_daily_limit(suite, tenant, 2)
    await look(suite, watch)
    fine(await suite.client.get("/api/v1/users", headers=tenant.auth))
    await look(suite, successor)
    assert ("api_requests", 100) in await thresholds(suite, tenant)


async def test_a_new_day_ends_what_was_of_the_day_before(suite: Suite, watch: Watch) -> None:
    tenant = await suite.tenant()
    await set_daily_limit(suite, tenant, 5)
    for _ in range(4):
        await suite.client.get("/api/v1/users", headers=tenant.auth)
    await look(suite, watch)
    assert await thresholds(suite, tenant) == [("api_requests", 80)]
    # As it stands just after midnight: the alert is of yesterday, and nobody has asked anything yet.
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        await session.execute(text("delete from usage_days where tenant_id = :id"), {"id": tenant.id})
    await as_of_yesterday(suite, tenant)
    await watch.look()
    assert (await alerts(suite, tenant.id))[0].status == "resolved"


async def as_of_yesterday(suite: Suite, tenant: TenantHandle) -> None:
    """Let the tenant's alerts and the last pass be of the day before, as the owner of the tables could."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    async with suite.database.transaction(tenant.id) as session:
        rows = [
            {column.key: getattr(row, column.key) for column in AlertRow.__table__.columns}
            for row in await alerts(suite, tenant.id)
        ]
        assert rows
    async with platform(suite).transaction(tenant.id) as session:
        for row in rows:
            await session.execute(
                text("delete from alerts where id = :id"),
                {"id": row["id"]},
                execution_options={"unscoped": True},
            )
            session.add(AlertRow(**row | {"period": yesterday}))
    async with platform(suite).platform_transaction() as session:
        aged = "update schedules set last_run_at = last_run_at - interval '1 day' where name = :name"
        await session.execute(text(aged), {"name": watch_repository.TASK})


async def incidents(suite: Suite, tenant: TenantHandle) -> list[dict[str, Any]]:
    return await listed(suite, tenant, kind="security")


async def test_a_token_used_against_another_tenant_is_an_incident_of_its_own(
    suite: Suite, watch: Watch
) -> None:
    """Catalogue 6."""
    tenant, other = await suite.tenant(), await suite.tenant()
    for _ in range(2):
        headers = tenant.auth | {"X-Tenant-ID": str(other.id)}
        refused(await suite.client.get("/api/v1/users", headers=headers), 403, "tenant_mismatch")
        await look(suite, watch)
    [alert] = await incidents(suite, tenant)
    assert (alert["subject"], alert["severity"], alert["status"]) == ("tenant_mismatch", "warning", "open")
    assert await incidents(suite, other) == []


async def test_a_refresh_token_used_twice_is_a_critical_incident(suite: Suite, watch: Watch) -> None:
    """Catalogue 69."""
    tenant = await suite.tenant()
    user = await suite.user(tenant)
    second = fine(await refresh(suite, user.refresh_token))
    fine(await refresh(suite, second["refreshToken"]))
    refused(await refresh(suite, user.refresh_token), 401, "token_revoked")
    await look(suite, watch)
    [alert] = await incidents(suite, tenant)
    assert (alert["subject"], alert["severity"]) == ("session.refresh_reused", "critical")


async def test_many_failed_sign_ins_are_an_incident_and_a_few_are_not(suite: Suite, watch: Watch) -> None:
    """Catalogue 81."""
    tenant = await suite.tenant()
    for number in range(19):
        await sign_in(suite, tenant, email=f"n{number}@{tenant.slug}.example", password="Wrong-Guess-1")
    await look(suite, watch)
    assert await incidents(suite, tenant) == []
    await sign_in(suite, tenant, email=f"n19@{tenant.slug}.example", password="Wrong-Guess-1")
    await look(suite, watch)
    [alert] = await incidents(suite, tenant)
    assert (alert["subject"], alert["severity"]) == ("login.failed", "warning")


async def test_one_tenant_in_trouble_holds_nobody_else_up_and_is_looked_at_again(
    suite: Suite, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, bad, good = [await suite.tenant(maxUsers=1) for _ in range(3)]
    carry_out = book.carry_out

    async def failing(session: Any, due: Any) -> None:
        await carry_out(session, due)
        if bad.id in due:
            raise RuntimeError("This tenant's rows are locked.")

    monkeypatch.setattr("tenant_service.alerts.watch.carry_out", failing)
    await look(suite, watch)
    assert [len(await alerts(suite, one.id)) for one in (first, bad, good)] == [3, 0, 3]
    monkeypatch.undo()
    await look(suite, watch)
    assert len(await alerts(suite, bad.id)) == 3


async def test_a_worker_that_dies_before_it_notes_how_far_it_came_leaves_nothing_twice(
    suite: Suite, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 118."""
    tenant = await suite.tenant(maxUsers=1)

    async def dying(system: Any, mark: Any) -> None:
        raise SystemError("killed")

    monkeypatch.setattr(watch_repository, "advance", dying)
    with pytest.raises(SystemError):
        await look(suite, watch)
    monkeypatch.undo()
    opened = [row.id for row in await alerts(suite, tenant.id)]
    assert len(opened) == 3
    await look(suite, Watch(platform(suite), suite.database))
    assert [row.id for row in await alerts(suite, tenant.id)] == opened


async def test_transactions_that_are_numbered_anew_cost_no_alert(suite: Suite, watch: Watch) -> None:
    tenant = await suite.tenant(maxUsers=1)
    async with platform(suite).platform_transaction() as session:
        moved = "update schedules set mark = mark + 1000000000 where name = :name"
        await session.execute(text(moved), {"name": watch_repository.TASK})
    await look(suite, watch)
    assert len(await alerts(suite, tenant.id)) == 3


async def test_a_tenant_that_is_being_purged_gets_no_alerts(suite: Suite, watch: Watch) -> None:
    tenant = await suite.tenant(maxUsers=1)
    async with platform(suite).platform_transaction() as session:
        await session.execute(
            text("update tenants set purging_since = now() where id = :id"), {"id": tenant.id}
        )
    await look(suite, watch)
    assert await alerts(suite, tenant.id) == []


async def test_many_tenants_alerts_are_opened_and_ended_together(suite: Suite, watch: Watch) -> None:
    tenants = [await suite.tenant(maxUsers=1) for _ in range(5)]
    await look(suite, watch)
    assert [len(await thresholds(suite, one)) for one in tenants] == [3] * 5
    events = ["alert.opened"] * 3
    assert [name for name, _ in await alert_events(suite, tenants[0].id)] == events
    for one in tenants:
        fine(await patch(suite, one, suite.operator, maxUsers=50))
    await look(suite, watch)
    assert [len(await thresholds(suite, one, "resolved")) for one in tenants] == [3] * 5
    told = await alert_events(suite, tenants[0].id)
    assert [name for name, _ in told] == [*events, *["alert.resolved"] * 3]
    assert {data["status"] for _, data in told[3:]} == {"resolved"}
    async with suite.database.transaction(tenants[1].id) as session:
        notices = select(JobRow).where(JobRow.kind == NOTICE, JobRow.tenant_id == tenants[1].id)
        assert (await session.scalars(notices)).all()
