"""What time brings: renewals, overdue invoices, suspension and its end, cancellation, who is due."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from sqlalchemy import delete, select, update

from mis_jobs.jobs import Job
from mis_models.accounts import CountersRow
from mis_models.billing import InvoiceRow, SubscriptionRow
from mis_models.work import JobRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import GIB
from mis_tenancy.tables import TenantRow
from tenant_service.billing.jobs import ROUND, UPKEEP, BillingJobs
from tenant_service.billing.periods import Period
from tenant_service.plan_migration.period_end import ScheduledMigrations
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.billing import (
    billing_of,
    events_of,
    hear,
    invoice_rows,
    invoices_of,
    let_pass,
    set_subscription,
    settle,
    subscription_of,
)
from tests.tenant_service.requests import TENANTS

DAY = timedelta(days=1)
USERS = "/api/v1/users"


async def begun(suite: Suite, plan: str, start: datetime) -> TenantHandle:
    """Return a tenant whose first period began at `start`."""
    tenant = await suite.tenant(plan)
    end = Period.of(start, 0).end
    await set_subscription(suite, tenant, anchor_at=start, period_start=start, period_end=end)
    async with suite.apps["tenant"].state.platform.transaction(tenant.id) as session:
        await session.execute(
            update(InvoiceRow).values(period_start=start, period_end=end, due_at=start + 14 * DAY)
        )
        await session.execute(update(TenantRow).where(TenantRow.id == tenant.id).values(status_since=start))
    return tenant


async def test_each_period_is_billed_once_however_often_and_late_the_worker_comes(suite: Suite) -> None:
    start = datetime(2030, 1, 31, 9, tzinfo=UTC)
    tenant = await begun(suite, "basic", start)
    await let_pass(suite, tenant, datetime(2030, 2, 28, 8, 59, tzinfo=UTC))
    assert len(await invoice_rows(suite, tenant)) == 1
    late = datetime(2030, 4, 30, 9, tzinfo=UTC)
    await asyncio.gather(*(let_pass(suite, tenant, late) for _ in range(4)))
    rows = await invoice_rows(suite, tenant)
    assert [(row.number, row.kind, row.total) for row in rows] == [
        (number, "period", 2_900) for number in (1, 2, 3, 4)
    ]
    # The 31st comes back after a month that has none.
    assert [row.period_start.strftime("%m-%d") for row in rows] == ["01-31", "02-28", "03-31", "04-30"]
    assert all(row.period_end == later.period_start for row, later in pairwise(rows))
    assert (await subscription_of(suite, tenant)).period_end == datetime(2030, 5, 31, 9, tzinfo=UTC)


async def test_a_renewal_takes_the_credit_off_and_carries_what_is_left(suite: Suite) -> None:
    start = datetime(2030, 3, 1, tzinfo=UTC)
    tenant = await begun(suite, "basic", start)
    kept = [{"description": "First", "amount": 1_000}, {"description": "Second", "amount": 4_000}]
    await set_subscription(suite, tenant, credits=kept)
    await let_pass(suite, tenant, start + 31 * DAY)
    newest = (await invoices_of(suite, tenant))[0]
    assert ([line["amount"] for line in newest["lines"]], newest["total"]) == ([2_900, -1_000, -1_900], 0)
    # What comes to nothing is paid at once.
    assert newest["status"] == "paid"
    assert sorted(await events_of(suite, tenant)) == ["invoice.issued", "invoice.issued", "invoice.paid"]
    billing = await billing_of(suite, tenant)
    assert billing["credits"] == [{"description": "Second", "amount": 2_100}]
    assert (billing["credit"], billing["nextInvoice"]["total"]) == (2_100, 800)


async def test_a_void_invoice_gives_back_the_credit_that_it_had_taken(suite: Suite) -> None:
    start = datetime(2030, 3, 1, tzinfo=UTC)
    tenant = await begun(suite, "basic", start)
    kept = [{"description": "First", "amount": 1_000}, {"description": "Second", "amount": 200}]
    await set_subscription(suite, tenant, credits=kept)
    await let_pass(suite, tenant, start + 31 * DAY)
    newest = (await invoices_of(suite, tenant))[0]
    assert newest["total"] == 1_700
    await settle(suite, tenant, newest["id"], "void")
    assert (await billing_of(suite, tenant))["credits"] == kept


async def test_what_is_held_above_the_plan_is_billed_with_the_period(suite: Suite) -> None:
    start = datetime(2030, 3, 1, tzinfo=UTC)
    tenant = await begun(suite, "basic", start)
    async with suite.database.transaction(tenant.id) as session:
        await session.execute(update(CountersRow).values(users=110, storage_bytes=11 * GIB))
    await let_pass(suite, tenant, start + 31 * DAY)
    newest = (await invoices_of(suite, tenant))[0]
    assert [line["amount"] for line in newest["lines"]] == [2_900, 290, 290]


async def test_an_unpaid_invoice_makes_past_due_then_closes_and_payment_opens(suite: Suite) -> None:
    start = datetime.now(UTC) - 27 * DAY
    tenant = await begun(suite, "basic", start)
    due = start + 14 * DAY
    await let_pass(suite, tenant, due - DAY)
    assert (await billing_of(suite, tenant))["state"] == "active"
    await let_pass(suite, tenant, due)
    assert (await billing_of(suite, tenant))["state"] == "past_due"
    fine(await suite.client.get(USERS, headers=tenant.auth))
    await let_pass(suite, tenant, due + 14 * DAY - timedelta(seconds=1))
    fine(await suite.client.get(USERS, headers=tenant.auth))

    await let_pass(suite, tenant, due + 14 * DAY)
    # Tokens from before have ended; the owner signs in with narrow rights, sees what is owed and exports.
    refused(await suite.client.get(USERS, headers=tenant.auth), 401, "token_revoked")
    owner = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    refused(await suite.client.get(USERS, headers=owner.auth), 403, "permission_denied")
    own = await suite.client.get(f"{TENANTS}/{tenant.id}/billing", headers=owner.auth)
    assert (fine(own)["state"], fine(own)["owed"]) == ("past_due", 2_900)
    (invoice,) = await invoices_of(suite, tenant)
    pay = f"{TENANTS}/{tenant.id}/invoices/{invoice['id']}/pay"
    refused(await suite.client.post(pay, headers=owner.auth), 403, "permission_denied")

    await settle(suite, tenant, invoice["id"])
    assert (await billing_of(suite, tenant))["state"] == "active"
    refused(await suite.client.get(USERS, headers=owner.auth), 401, "token_revoked")
    anew = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    fine(await suite.client.get(USERS, headers=anew.auth))
    logs = await suite.client.get(f"{TENANTS}/{tenant.id}/audit-logs?kind=change", headers=anew.auth)
    rows = {row["action"]: row for row in fine(logs)}
    assert rows["tenant.suspended"]["changes"]["status_reason"] == {"old": None, "new": "past_due"}
    assert rows["invoice.paid"]["changes"]["status"] == {"old": "suspended", "new": "active"}
    told = await events_of(suite, tenant, "tenant.")
    assert told[-2:] == ["tenant.suspended", "tenant.reactivated"]
    alerts = await suite.client.get(f"{TENANTS}/{tenant.id}/alerts", headers=anew.auth)
    (alert,) = [alert for alert in fine(alerts) if alert["kind"] == "billing"]
    assert (alert["status"], alert["severity"]) == ("resolved", "warning")


async def test_a_debt_that_is_paid_during_a_deletion_does_not_close_what_is_restored(suite: Suite) -> None:
    start = datetime.now(UTC) - 29 * DAY
    tenant = await begun(suite, "basic", start)
    await let_pass(suite, tenant, start + 14 * DAY)
    await let_pass(suite, tenant, start + 28 * DAY)
    path = f"{TENANTS}/{tenant.id}"
    fine(await suite.client.delete(path, headers=suite.operator), 202)
    (invoice,) = await invoices_of(suite, tenant)
    await settle(suite, tenant, invoice["id"])
    shown = fine(await suite.client.get(path, headers=suite.operator))
    assert shown["status"] == "pending_deletion"
    restored = fine(await suite.client.post(f"{path}/restore", headers=suite.operator))
    assert restored["status"] == "active"


async def test_a_tenant_stays_closed_until_the_last_overdue_invoice_is_settled(suite: Suite) -> None:
    start = datetime.now(UTC) - 100 * DAY
    tenant = await begun(suite, "basic", start)
    await let_pass(suite, tenant, start + 31 * DAY)
    first, second = await invoice_rows(suite, tenant)
    async with suite.apps["tenant"].state.platform.transaction(tenant.id) as session:
        await session.execute(update(InvoiceRow).values(due_at=start + 40 * DAY))
    await let_pass(suite, tenant, start + 60 * DAY)
    await settle(suite, tenant, str(first.id))
    document = fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=suite.operator))
    assert document["status"] == "suspended"
    # One that was issued in error is made void, and owed no more than one that is paid.
    await settle(suite, tenant, str(second.id), "void")
    document = fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=suite.operator))
    assert document["status"] == "active"


async def test_payment_does_not_lift_a_suspension_for_another_reason(suite: Suite) -> None:
    start = datetime.now(UTC) - 30 * DAY
    tenant = await begun(suite, "basic", start)
    await let_pass(suite, tenant, start + 15 * DAY)
    path = f"{TENANTS}/{tenant.id}/suspend"
    fine(await suite.client.post(path, json={"reason": "Abuse"}, headers=suite.operator))
    (invoice,) = await invoices_of(suite, tenant)
    await settle(suite, tenant, invoice["id"])
    document = fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=suite.operator))
    assert document["status"] == "suspended"
    assert (await billing_of(suite, tenant))["state"] == "active"


async def test_an_operator_who_opens_a_tenant_all_the_same_is_not_overruled(suite: Suite) -> None:
    start = datetime.now(UTC) - 29 * DAY
    tenant = await begun(suite, "basic", start)
    await let_pass(suite, tenant, start + 28 * DAY)
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/reactivate", headers=suite.operator))
    await let_pass(suite, tenant, datetime.now(UTC))
    document = fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=suite.operator))
    assert document["status"] == "active"
    assert (await billing_of(suite, tenant))["state"] == "past_due"


async def test_a_cancellation_closes_the_tenant_with_its_period_and_bills_no_more(suite: Suite) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    tenant = await begun(suite, "premium", start)
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/billing/cancel", headers=tenant.auth))
    (invoice,) = await invoices_of(suite, tenant)
    await settle(suite, tenant, invoice["id"])
    await let_pass(suite, tenant, start + 30 * DAY)
    fine(await suite.client.get(USERS, headers=tenant.auth))
    await let_pass(suite, tenant, start + 31 * DAY)
    problem = refused(await suite.client.get(USERS, headers=tenant.auth), 403, "tenant_suspended")
    assert problem["reason"] == "canceled"
    await let_pass(suite, tenant, start + 300 * DAY)
    assert len(await invoice_rows(suite, tenant)) == 1
    assert (await billing_of(suite, tenant))["state"] == "canceled"
    # An operator lets it begin anew, and in; nobody is let in to be served for nothing.
    path = f"{TENANTS}/{tenant.id}"
    refused(await suite.client.post(f"{path}/reactivate", headers=suite.operator), 409, "subscription_ended")
    path = f"{path}/billing/resume"
    assert fine(await suite.client.post(path, headers=suite.operator))["state"] == "active"
    await hear(suite)
    fine(await suite.client.get(USERS, headers=tenant.auth))


async def test_a_subscription_that_is_resumed_during_a_deletion_does_not_close_what_is_restored(
    suite: Suite,
) -> None:
    start = datetime.now(UTC) - 31 * DAY
    tenant = await begun(suite, "basic", start)
    (invoice,) = await invoices_of(suite, tenant)
    await settle(suite, tenant, invoice["id"])
    await set_subscription(suite, tenant, cancel_at_period_end=True)
    await let_pass(suite, tenant, start + 31 * DAY)
    path = f"{TENANTS}/{tenant.id}"
    assert fine(await suite.client.get(path, headers=suite.operator))["status"] == "suspended"
    fine(await suite.client.delete(path, headers=suite.operator), 202)
    resumed = fine(await suite.client.post(f"{path}/billing/resume", headers=suite.operator))
    assert resumed["state"] == "active"
    restored = fine(await suite.client.post(f"{path}/restore", headers=suite.operator))
    assert restored["status"] == "active"


async def test_a_tenant_owes_nothing_for_the_time_in_which_it_is_closed(suite: Suite) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    tenant = await begun(suite, "basic", start)
    path = f"{TENANTS}/{tenant.id}"
    fine(await suite.client.post(f"{path}/suspend", json={"reason": "Holidays"}, headers=suite.operator))
    await let_pass(suite, tenant, datetime.now(UTC))
    assert len(await invoice_rows(suite, tenant)) == 1
    opened = fine(await suite.client.post(f"{path}/reactivate", headers=suite.operator))
    await let_pass(suite, tenant, datetime.now(UTC))
    rows = await invoice_rows(suite, tenant)
    assert len(rows) == 2
    assert rows[1].period_start == datetime.fromisoformat(opened["updatedAt"])


async def test_the_worker_finds_whom_something_is_due_for_and_nobody_else(suite: Suite) -> None:
    start = datetime(2040, 1, 1, tzinfo=UTC)
    ended, overdue, older, quiet, closed = [await begun(suite, "basic", start) for _ in range(5)]
    await set_subscription(suite, ended, period_end=start)
    for tenant in (overdue, older, quiet, closed):
        await set_subscription(suite, tenant, period_end=start + 900 * DAY)
    platform = suite.apps["tenant"].state.platform
    async with platform.platform_transaction() as session:
        kept = InvoiceRow.tenant_id != overdue.id
        of_test = InvoiceRow.tenant_id.in_([ended.id, quiet.id, closed.id])
        await session.execute(update(InvoiceRow).where(kept, of_test).values(status="paid"))
        await session.execute(delete(InvoiceRow).where(InvoiceRow.tenant_id == older.id))
        await session.execute(delete(SubscriptionRow).where(SubscriptionRow.tenant_id == older.id))
        await session.execute(update(TenantRow).where(TenantRow.id == closed.id).values(status="suspended"))
        await session.execute(delete(JobRow).where(JobRow.kind == UPKEEP))
    scheduled = ScheduledMigrations(suite.database)
    jobs = BillingJobs(platform, suite.database, scheduled, lambda: start + 15 * DAY)
    round_ = Job(new_id(), None, ROUND, {}, 1)
    await jobs.find_due(round_)
    await jobs.find_due(round_)
    async with platform.platform_transaction() as session:
        rows = (await session.scalars(select(JobRow).where(JobRow.kind == UPKEEP))).all()
    found = [row.tenant_id for row in rows]
    assert {ended.id, overdue.id, older.id} <= set(found)
    assert not {quiet.id, closed.id} & set(found)
    assert len(found) == len(set(found))
    for tenant in (ended, overdue, older):
        await jobs.bring_up(Job(new_id(), tenant.id, UPKEEP, {}, 1))
    assert len(await invoice_rows(suite, ended)) == 2
    assert (await billing_of(suite, overdue))["state"] == "past_due"
    assert (await subscription_of(suite, older)).period_start == start + 15 * DAY


async def test_a_tenant_older_than_billing_is_told_that_its_subscription_is_on_its_way(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    async with suite.apps["tenant"].state.platform.transaction(tenant.id) as session:
        await session.execute(delete(InvoiceRow))
        await session.execute(delete(SubscriptionRow))
    path = f"{TENANTS}/{tenant.id}/billing"
    refused(await suite.client.get(path, headers=tenant.auth), 404, "subscription_not_found")
    fine(await suite.client.post(f"{path}/cancel", headers=tenant.auth))
    assert len(await invoice_rows(suite, tenant)) == 1


async def test_a_tenants_own_transaction_cannot_say_that_an_invoice_is_paid(suite: Suite) -> None:
    async with suite.apps["tenant"].state.tenancy.database.system_transaction() as system:
        (row,) = await system.fetch(
            "select has_table_privilege('invoices', 'update') as updates, "
            "has_any_column_privilege('invoices', 'update') as some, "
            "has_table_privilege('invoices', 'delete') as deletes"
        )
    assert (row["updates"], row["some"], row["deletes"]) == (False, False, False)
