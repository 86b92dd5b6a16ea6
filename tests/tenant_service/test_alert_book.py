"""Alerts are opened once and ended once, whoever asks and however many do so at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from mis_models.alerts import AlertRow
from mis_models.work import OutboxRow
from mis_tenancy.database import Database
from tenant_service.alerts.book import open_alert, resolve_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tests.suite import Suite

PAST_DUE = Cause(AlertKind.BILLING, "past_due", Severity.WARNING, "An invoice is past due. Pay it.")


def at(threshold: int, period: str) -> Cause:
    return Cause(AlertKind.LIMIT, "users", Severity.WARNING, "Users run out.", threshold, period)


@asynccontextmanager
async def role(suite: Suite, name: str) -> AsyncIterator[Database]:
    """Yield a database of the role."""
    urls = {"app": suite.settings.database_url, "platform": suite.settings.platform_database_url}
    database = Database(urls[name] or "")
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


async def events(suite: Suite, tenant_id: UUID) -> list[tuple[str, dict[str, Any]]]:
    """Return the tenant's alert events, oldest first."""
    async with suite.database.transaction(tenant_id) as session:
        rows = await session.scalars(
            select(OutboxRow).where(OutboxRow.tenant_id == tenant_id).order_by(OutboxRow.id)
        )
        return [(row.type, row.data) for row in rows if row.type.startswith("alert.")]


async def alerts(suite: Suite, tenant_id: UUID) -> list[AlertRow]:
    async with suite.database.transaction(tenant_id) as session:
        return list((await session.scalars(select(AlertRow).order_by(AlertRow.id))).all())


@pytest.mark.parametrize("name", ["app", "platform"])
async def test_an_alert_is_opened_ended_and_opened_again_with_an_event_for_each(
    suite: Suite, name: str
) -> None:
    tenant = await suite.tenant()
    async with role(suite, name) as database:
        async with database.transaction(tenant.id) as session:
            first = await open_alert(session, PAST_DUE)
            assert await open_alert(session, PAST_DUE) is None
        async with database.transaction(tenant.id) as session:
            assert await resolve_alert(session, AlertKind.BILLING, "past_due") == 1
            assert await resolve_alert(session, AlertKind.BILLING, "past_due") == 0
            second = await open_alert(session, PAST_DUE)
    rows = await alerts(suite, tenant.id)
    assert [(row.id, row.status) for row in rows] == [(first, "resolved"), (second, "open")]
    told = await events(suite, tenant.id)
    assert [(kind, data["alertId"], data["status"]) for kind, data in told] == [
        ("alert.opened", str(first), "open"),
        ("alert.resolved", str(first), "resolved"),
        ("alert.opened", str(second), "open"),
    ]
    assert told[1][1]["resolvedAt"].endswith("Z")


async def test_in_a_period_an_alert_is_opened_once_even_if_it_has_ended(suite: Suite) -> None:
    tenant = await suite.tenant()
    async with suite.database.transaction(tenant.id) as session:
        assert await open_alert(session, at(80, "2026-11-25")) is not None
        assert await resolve_alert(session, AlertKind.LIMIT, "users", threshold=80) == 1
        assert await open_alert(session, at(80, "2026-11-25")) is None
        assert await open_alert(session, at(90, "2026-11-25")) is not None
        assert await open_alert(session, at(80, "2026-11-26")) is not None
        # It has not ended, so it stands for the next period too.
        assert await open_alert(session, at(80, "2026-11-27")) is None


async def test_of_many_who_open_at_once_one_does(suite: Suite) -> None:
    tenant = await suite.tenant()

    async def attempt() -> UUID | None:
        async with suite.database.transaction(tenant.id) as session:
            return await open_alert(session, PAST_DUE)

    opened = [one for one in await asyncio.gather(*(attempt() for _ in range(12))) if one is not None]
    assert len(opened) == 1
    assert len(await events(suite, tenant.id)) == 1


async def test_an_alert_does_not_outlive_the_transaction_of_its_cause(suite: Suite) -> None:
    tenant = await suite.tenant()
    async with suite.database.session(tenant.id) as session, session.begin() as transaction:
        await open_alert(session, PAST_DUE)
        await transaction.rollback()
    assert await alerts(suite, tenant.id) == []
    assert await events(suite, tenant.id) == []


async def test_ending_one_subject_leaves_the_others_open(suite: Suite) -> None:
    tenant = await suite.tenant()
    async with suite.database.transaction(tenant.id) as session:
        for threshold in (80, 90, 100):
            await open_alert(session, at(threshold, "2026-11-25"))
        await open_alert(session, PAST_DUE)
        assert await resolve_alert(session, AlertKind.LIMIT, "users", threshold=100) == 1
        assert await resolve_alert(session, AlertKind.LIMIT, "storage") == 0
    open_ones = [
        (row.subject, row.threshold) for row in await alerts(suite, tenant.id) if row.status == "open"
    ]
    assert sorted(open_ones, key=str) == [("past_due", None), ("users", 80), ("users", 90)]
