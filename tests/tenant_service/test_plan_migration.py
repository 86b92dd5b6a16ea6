"""Moving between plans over HTTP: what it changes, what refuses it, what it costs, and who may."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update

from mis_models.accounts import CountersRow
from mis_models.plan_migrations import PlanMigrationRow
from mis_tenancy.plans import GIB, PlanName
from tenant_service.plan_migration.order import Order, Requester
from tenant_service.plan_migration.service import Migrations
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.billing import (
    billing_of,
    events_of,
    hear,
    invoices_of,
    set_subscription,
)
from tests.tenant_service.plan_moves import (
    USERS,
    configure,
    document_of,
    hold,
    let_the_period_end,
    migrate,
    migrations_of,
)
from tests.tenant_service.requests import TENANTS, act_as, audit_rows, fields
from tests.waiting import someone_waits


async def test_an_upgrade_changes_limits_features_and_bill_in_one_step(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    before = await suite.client.get(USERS, headers=tenant.auth)
    assert before.headers["x-ratelimit-limit"] == "1000"
    moved = fine(await migrate(suite, tenant, "premium", preserveData=True, downtime=False))
    assert (moved["status"], moved["fromPlan"], moved["toPlan"]) == ("completed", "basic", "premium")
    assert moved["featuresGained"] == ["biometric_auth", "custom_branding"]
    document = await document_of(suite, tenant)
    assert (document["plan"], document["maxUsers"], document["maxStorage"]) == ("premium", 1_000, 100)
    assert document["features"]["biometric_auth"] is True
    await hear(suite)
    after = await suite.client.get(USERS, headers=tenant.auth)
    assert after.headers["x-ratelimit-limit"] == "10000"
    # The rest of the month is charged at once, less what was paid for it on the old plan.
    newest = (await invoices_of(suite, tenant))[0]
    assert [line["amount"] < 0 for line in newest["lines"]] == [True, False]
    assert newest["total"] == moved["proration"]["dueNow"] == moved["proration"]["net"]
    assert 26_990 < newest["total"] <= 27_000
    billing = await billing_of(suite, tenant)
    assert (billing["plan"], billing["price"], billing["nextInvoice"]["total"]) == (
        *("premium", 29_900),
        29_900,
    )
    (listed,) = await migrations_of(suite, tenant)
    assert listed == moved
    assert await events_of(suite, tenant, "tenant.migrated") == ["tenant.migrated"]
    actions = [row["action"] for row in await audit_rows(suite, tenant.id)]
    assert actions[0] == "tenant.migrated"
    assert actions.count("tenant.migrated") == 1


async def test_a_downgrade_gives_credit_and_takes_features_away_everywhere(suite: Suite) -> None:
    """Catalogue 95."""
    tenant = await suite.tenant("enterprise")
    path = f"{TENANTS}/{tenant.id}/analytics"
    fine(await suite.client.get(path, headers=tenant.auth))
    moved = fine(await migrate(suite, tenant, "basic"))
    assert set(moved["featuresLost"]) == {
        *("biometric_auth", "custom_branding", "ai_verification"),
        *("advanced_analytics", "priority_support"),
    }
    await hear(suite)
    problem = refused(await suite.client.get(path, headers=tenant.auth), 403, "feature_not_available")
    assert problem["availableIn"] == ["enterprise", "custom"]
    assert len(await invoices_of(suite, tenant)) == 1
    billing = await billing_of(suite, tenant)
    assert billing["credit"] == moved["proration"]["credit"] == -moved["proration"]["net"]
    assert 296_900 < billing["credit"] <= 297_000
    assert billing["nextInvoice"]["total"] == 0


async def test_there_and_back_costs_only_the_time_that_passed(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    fine(await migrate(suite, tenant, "premium"))
    fine(await migrate(suite, tenant, "basic"))
    fine(await migrate(suite, tenant, "premium"))
    invoices = await invoices_of(suite, tenant)
    # The second upgrade is paid with what the downgrade gave back, to within the cents of a few seconds.
    assert invoices[0]["total"] <= 1
    credit = (await billing_of(suite, tenant))["credit"]
    billed = sum(invoice["total"] for invoice in invoices) - credit
    assert 29_895 <= billed <= 29_900


async def test_a_dry_run_tells_all_and_changes_nothing(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    await configure(suite, tenant, "session.timeout", 1_800)
    await configure(suite, tenant, "api.rate_limit", 8_000)
    await configure(suite, tenant, "app.theme", {"dark": True})
    await hold(suite, tenant, users=150, storage_bytes=20 * GIB)
    before = await document_of(suite, tenant)
    foretold = fine(await migrate(suite, tenant, "basic", query="?dryRun=true"))
    assert (foretold["dryRun"], foretold["migrationId"], foretold["status"]) == (True, None, None)
    limits = {limit["limit"]: limit for limit in foretold["limits"]}
    assert limits["users"] == {"limit": "users", "used": 150, "old": 1_000, "new": 100, "over": True}
    assert limits["storage"] == {
        "limit": "storage",
        "used": 20 * GIB,
        "old": 100 * GIB,
        "new": 10 * GIB,
        "over": True,
    }
    assert (limits["api.rate_limit"]["old"], limits["api.rate_limit"]["new"]) == (8_000, 1_000)
    assert set(limits) == {
        *("users", "storage", "api.rate_limit", "api.burst_limit"),
        "file_upload.max_size",
    }
    assert foretold["overridesKept"] == [{"configKey": "session.timeout", "configValue": 1_800}]
    assert foretold["overridesDropped"] == [{"configKey": "api.rate_limit", "configValue": 8_000}]
    changed = {one["configKey"]: (one["old"], one["new"]) for one in foretold["configKeysChanged"]}
    assert changed["api.rate_limit"] == (8_000, 1_000)
    assert "session.timeout" not in changed
    assert foretold["featuresLost"] == ["biometric_auth", "custom_branding"]
    assert foretold["proration"]["net"] < 0
    # 50 users at 29 cents, 10 GiB at 290.
    assert foretold["proration"]["overage"] == 50 * 29 + 10 * 290
    assert await document_of(suite, tenant) == before
    assert await migrations_of(suite, tenant) == []
    assert len(await invoices_of(suite, tenant)) == 1


async def test_a_tenant_above_the_new_limits_is_refused_with_the_list_and_left_as_it_was(
    suite: Suite,
) -> None:
    """Catalogue 96."""
    tenant = await suite.tenant("premium")
    await configure(suite, tenant, "api.rate_limit", 8_000)
    await hold(suite, tenant, users=101, storage_bytes=11 * GIB)
    before = (await document_of(suite, tenant), await billing_of(suite, tenant))
    problem = refused(await migrate(suite, tenant, "basic"), 409, "over_plan_limits")
    assert [(limit["limit"], limit["used"], limit["new"]) for limit in problem["limits"]] == [
        ("users", 101, 100),
        ("storage", 11 * GIB, 10 * GIB),
    ]
    assert (await document_of(suite, tenant), await billing_of(suite, tenant)) == before
    assert await migrations_of(suite, tenant) == []
    kept = await suite.client.get(f"{TENANTS}/{tenant.id}/config/api.rate_limit", headers=tenant.auth)
    assert fine(kept)["configValue"] == 8_000


async def test_a_frozen_tenant_keeps_everything_and_adds_nothing(suite: Suite) -> None:
    """Catalogue 96."""
    tenant = await suite.tenant("premium")
    await hold(suite, tenant, users=101)
    moved = fine(await migrate(suite, tenant, "basic", onOverLimit="freeze"))
    assert [limit["limit"] for limit in moved["limits"] if limit["over"]] == ["users"]
    new = {"email": f"n@{tenant.slug}.example", "name": "Nina New"}
    problem = refused(await suite.client.post(USERS, json=new, headers=tenant.auth), 409, "limit_exceeded")
    assert (problem["limit"], problem["used"]) == (100, 101)
    fine(await suite.client.get(USERS, headers=tenant.auth))
    # What is above the plan is on the next invoice.
    draft = (await billing_of(suite, tenant))["nextInvoice"]
    assert [line["amount"] for line in draft["lines"]][:2] == [2_900, 29]
    await hold(suite, tenant, users=99)
    fine(await suite.client.post(USERS, json=new, headers=tenant.auth), 201)


async def test_own_values_that_exceed_the_new_plan_go_as_versions_of_their_keys(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    await configure(suite, tenant, "api.rate_limit", 8_000)
    await configure(suite, tenant, "session.timeout", 1_800)
    fine(await migrate(suite, tenant, "basic"))
    path = f"{TENANTS}/{tenant.id}/config"
    gone = fine(await suite.client.get(f"{path}/api.rate_limit", headers=tenant.auth))
    assert (gone["configValue"], gone["source"], gone["override"]) == (1_000, "plan", None)
    kept = fine(await suite.client.get(f"{path}/session.timeout", headers=tenant.auth))
    assert (kept["configValue"], kept["source"]) == (1_800, "tenant")
    versions = fine(await suite.client.get(f"{path}/api.rate_limit/history", headers=tenant.auth))
    assert [version["deleted"] for version in versions] == [True, False]


async def test_the_custom_plan_is_for_operators_to_give_and_for_owners_to_leave(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    problem = refused(await migrate(suite, tenant, "custom"), 403, "permission_denied")
    assert problem["required"] == "operator"
    path = f"{TENANTS}/{tenant.id}/billing"
    fine(await suite.client.patch(path, json={"contractPrice": 1_000_000}, headers=suite.operator))
    moved = fine(await migrate(suite, tenant, "custom", suite.operator))
    assert 970_000 < moved["proration"]["dueNow"] < 1_000_000
    document = await document_of(suite, tenant)
    assert (document["maxUsers"], document["maxStorage"]) == (None, None)
    fine(await migrate(suite, tenant, "premium"))


async def test_who_may_not_migrate_is_told_what_it_takes(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    admin = await suite.user(tenant, "admin")
    for headers in (admin.auth, await act_as(suite, tenant)):
        problem = refused(await migrate(suite, tenant, "premium", headers), 403, "permission_denied")
        assert problem["required"] == "tenant:migrate"


async def test_what_makes_no_sense_is_refused_by_name(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    refused(await migrate(suite, tenant, "basic"), 409, "plan_unchanged")
    problem = refused(await migrate(suite, tenant, "premium", preserveData=False), 422, "erase_is_separate")
    assert fields(problem) == [("migrationOptions.preserveData", "erase_is_separate")]
    for body in (
        {"targetPlan": "gold"},
        {"targetPlan": "premium", "migrationOptions": {"effectiveAt": "tomorrow"}},
        {"targetPlan": "premium", "migrationOptions": {"now": True}},
        {},
    ):
        path = f"{TENANTS}/{tenant.id}/migrate"
        refused(await suite.client.post(path, json=body, headers=tenant.auth), 422, "validation_failed")


async def test_a_repeated_request_with_its_key_is_answered_as_the_first(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    headers = tenant.auth | {"Idempotency-Key": "once"}
    first = fine(await migrate(suite, tenant, "premium", headers))
    again = await migrate(suite, tenant, "premium", headers)
    assert (fine(again), again.headers["idempotent-replayed"]) == (first, "true")
    assert len(await migrations_of(suite, tenant)) == 1


async def test_of_two_changes_to_the_same_plan_at_once_one_happens(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    answers = await asyncio.gather(*(migrate(suite, tenant, "premium") for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]
    assert len(await invoices_of(suite, tenant)) == 2


async def test_an_operators_change_is_in_the_tenants_log_under_his_id(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    fine(await migrate(suite, tenant, "premium", suite.operator))
    row = (await audit_rows(suite, tenant.id))[0]
    (migration,) = await migrations_of(suite, tenant)
    assert (row["action"], row["actor"]) == ("tenant.migrated", migration["requestedBy"])


async def test_a_user_cannot_slip_in_while_the_plan_changes(suite: Suite) -> None:
    """A creation that waits for the change has read the old limit; it is judged by the new one."""
    tenant = await suite.tenant("premium")
    await hold(suite, tenant, users=100)
    new = {"email": f"late@{tenant.slug}.example", "name": "Lara Late"}
    async with suite.database.transaction(tenant.id) as session:
        migrations = Migrations(session, Requester(tenant.owner.id, "member"), datetime.now(UTC))
        await migrations.migrate(Order(PlanName.BASIC))
        await session.flush()
        creation = asyncio.create_task(suite.client.post(USERS, json=new, headers=tenant.auth))
        await someone_waits(suite, creation)
    problem = refused(await creation, 409, "limit_exceeded")
    assert (problem["limit"], problem["used"]) == (100, 100)


async def test_a_user_who_came_first_is_counted_by_the_change(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    await hold(suite, tenant, users=100)
    async with suite.database.transaction(tenant.id) as session:
        await session.execute(update(CountersRow).values(users=CountersRow.users + 1))
        change = asyncio.create_task(migrate(suite, tenant, "basic"))
        await someone_waits(suite, change)
    problem = refused(await change, 409, "over_plan_limits")
    assert problem["limits"][0]["used"] == 101


async def test_room_that_the_new_plan_brings_is_there_for_who_waited(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    await hold(suite, tenant, users=100)
    new = {"email": f"lucky@{tenant.slug}.example", "name": "Luke Lucky"}
    async with suite.database.transaction(tenant.id) as session:
        migrations = Migrations(session, Requester(tenant.owner.id, "member"), datetime.now(UTC))
        await migrations.migrate(Order(PlanName.PREMIUM))
        await session.flush()
        creation = asyncio.create_task(suite.client.post(USERS, json=new, headers=tenant.auth))
        await asyncio.sleep(0.2)
    # The old limit may have refused it before the change was there; then asking again does it.
    answer = await creation
    if answer.status_code != 201:
        refused(answer, 409, "limit_exceeded")
        answer = await suite.client.post(USERS, json=new, headers=tenant.auth)
    fine(answer, 201)


# ---- scheduled for the period's end


async def schedule(
    suite: Suite, tenant: TenantHandle, plan: str, headers: Any = None, **options: Any
) -> dict[str, Any]:
    options["effectiveAt"] = "period_end"
    document: dict[str, Any] = fine(await migrate(suite, tenant, plan, headers, **options))
    assert document["status"] == "scheduled"
    return document


async def test_a_scheduled_change_waits_for_the_periods_end_and_precedes_the_invoice(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    scheduled = await schedule(suite, tenant, "basic")
    billing = await billing_of(suite, tenant)
    assert scheduled["dueAt"] == billing["currentPeriodEnd"]
    assert (billing["plan"], billing["scheduledPlan"]) == ("premium", "basic")
    assert billing["nextInvoice"]["total"] == 2_900
    assert scheduled["proration"]["net"] == 0
    problem = refused(await migrate(suite, tenant, "enterprise"), 409, "migration_pending")
    assert problem["migrationId"] == scheduled["migrationId"]
    await let_the_period_end(suite, tenant)
    assert (await document_of(suite, tenant))["plan"] == "basic"
    (first, second) = (await invoices_of(suite, tenant))[::-1]
    assert (first["total"], second["total"]) == (29_900, 2_900)
    billing = await billing_of(suite, tenant)
    assert (billing["credit"], billing["scheduledPlan"]) == (0, None)
    (done,) = await migrations_of(suite, tenant)
    assert (done["status"], done["migrationId"]) == ("completed", scheduled["migrationId"])
    actions = [row["action"] for row in await audit_rows(suite, tenant.id)]
    assert [action for action in actions if "migrat" in action] == ["tenant.migrated", "migration.scheduled"]


async def test_a_scheduled_change_can_be_taken_back_once(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    scheduled = await schedule(suite, tenant, "basic")
    path = f"{TENANTS}/{tenant.id}/migrations/{scheduled['migrationId']}"
    assert (await suite.client.delete(path, headers=tenant.auth)).status_code == 204
    problem = refused(await suite.client.delete(path, headers=tenant.auth), 409, "migration_not_scheduled")
    assert problem["migrationStatus"] == "canceled"
    await let_the_period_end(suite, tenant)
    assert (await document_of(suite, tenant))["plan"] == "premium"
    assert (await billing_of(suite, tenant))["scheduledPlan"] is None
    # It is out of the way of the next one.
    fine(await migrate(suite, tenant, "enterprise"))


async def test_a_price_that_is_agreed_meanwhile_does_not_lose_a_scheduled_change(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await schedule(suite, tenant, "premium", headers=suite.operator)
    path = f"{TENANTS}/{tenant.id}/billing"
    agreed = fine(await suite.client.patch(path, json={"contractPrice": 500_000}, headers=suite.operator))
    assert (agreed["price"], agreed["scheduledPlan"]) == (500_000, "premium")
    assert agreed["nextInvoice"]["total"] == 29_900
    await let_the_period_end(suite, tenant)
    assert (await document_of(suite, tenant))["plan"] == "premium"
    (done,) = await migrations_of(suite, tenant)
    assert done["status"] == "completed"
    assert (await billing_of(suite, tenant))["price"] == 29_900


async def test_what_an_operator_has_lowered_is_not_raised_by_going_to_a_plan_and_back(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    await configure(suite, tenant, "api.rate_limit", 5_000, suite.operator)
    down = fine(await migrate(suite, tenant, "basic"))
    assert [one["configKey"] for one in down["overridesDropped"]] == ["api.rate_limit"]
    up = fine(await migrate(suite, tenant, "premium"))
    assert up["overridesKept"] == [{"configKey": "api.rate_limit", "configValue": 5_000}]
    assert {"configKey": "api.rate_limit", "old": 1_000, "new": 5_000} in up["configKeysChanged"]
    path = f"{TENANTS}/{tenant.id}/config/api.rate_limit"
    in_force = fine(await suite.client.get(path, headers=tenant.auth))
    assert (in_force["configValue"], in_force["source"]) == (5_000, "tenant")
    refused(await suite.client.delete(path, headers=tenant.auth), 403, "config_exceeds_plan")
    # The operator takes it back as ever.
    assert (await suite.client.delete(path, headers=suite.operator)).status_code == 204
    await configure(suite, tenant, "api.rate_limit", 9_000)


async def test_what_an_operator_has_granted_ends_with_its_plan_and_bounds_nobody_on_the_next_one(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("basic")
    await configure(suite, tenant, "api.rate_limit", 5_000, suite.operator)
    up = fine(await migrate(suite, tenant, "premium"))
    assert up["overridesDropped"] == [{"configKey": "api.rate_limit", "configValue": 5_000}]
    await configure(suite, tenant, "api.rate_limit", 8_000)


async def test_a_tenant_that_is_too_large_when_the_day_comes_stays_on_its_plan_and_is_told(
    suite: Suite,
) -> None:
    """Catalogue 96."""
    tenant = await suite.tenant("premium")
    scheduled = await schedule(suite, tenant, "basic")
    await hold(suite, tenant, users=101)
    await let_the_period_end(suite, tenant)
    assert (await document_of(suite, tenant))["plan"] == "premium"
    (failed,) = await migrations_of(suite, tenant)
    assert (failed["migrationId"], failed["status"]) == (scheduled["migrationId"], "failed")
    assert [(reason["limit"], reason["used"]) for reason in failed["reasons"]] == [("users", 101)]
    assert (await invoices_of(suite, tenant))[0]["total"] == 29_900
    alerts = fine(await suite.client.get(f"{TENANTS}/{tenant.id}/alerts", headers=tenant.auth))
    assert [alert["subject"] for alert in alerts if alert["kind"] == "billing"] == ["migration_failed"]


async def test_an_ended_subscription_changes_no_plan_until_it_is_resumed(suite: Suite) -> None:
    """It would be unbilled: a tenant that is active all the same would have any plan for nothing."""
    tenant = await suite.tenant("basic")
    await set_subscription(suite, tenant, state="canceled")
    asked: list[dict[str, Any]] = [
        *({}, {"downtime": True}, {"effectiveAt": "period_end"}, {"query": "?dryRun=true"})
    ]
    for how in asked:
        problem = refused(await migrate(suite, tenant, "premium", **how), 409, "subscription_ended")
        assert "/billing/resume" in problem["detail"]
    operation = {"operation": "migrate", "tenantId": tenant.slug, "targetPlan": "premium"}
    bulk = await suite.client.post(f"{TENANTS}/bulk", json=[operation], headers=suite.operator)
    (line,) = [json.loads(line) for line in bulk.text.splitlines()]
    assert (line["ok"], line["problem"]["code"]) == (False, "subscription_ended")
    document = await document_of(suite, tenant)
    assert (document["plan"], document["status"]) == ("basic", "active")
    assert await migrations_of(suite, tenant) == []
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/billing/resume", headers=tenant.auth))
    moved = fine(await migrate(suite, tenant, "premium"))
    assert 26_990 < moved["proration"]["dueNow"] <= 27_000


async def test_a_change_that_waits_for_the_end_of_a_canceled_subscription_is_what_it_is_resumed_on(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("premium")
    await schedule(suite, tenant, "basic")
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/billing/cancel", headers=tenant.auth))
    await let_the_period_end(suite, tenant)
    document = await document_of(suite, tenant)
    assert (document["plan"], document["status"]) == ("basic", "suspended")
    assert (await billing_of(suite, tenant))["state"] == "canceled"
    assert len(await invoices_of(suite, tenant)) == 1
    resumed = await suite.client.post(f"{TENANTS}/{tenant.id}/billing/resume", headers=suite.operator)
    assert (fine(resumed)["price"], fine(resumed)["credit"]) == (2_900, 0)


async def test_a_suspended_tenant_is_migrated_and_one_that_is_ending_is_not(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    suspend = f"{TENANTS}/{tenant.id}/suspend"
    fine(await suite.client.post(suspend, json={"reason": "Test"}, headers=suite.operator))
    fine(await migrate(suite, tenant, "basic", suite.operator))
    assert (await document_of(suite, tenant))["status"] == "suspended"
    fine(await suite.client.delete(f"{TENANTS}/{tenant.id}", headers=suite.operator), 202)
    refused(await migrate(suite, tenant, "premium", suite.operator), 409, "tenant_state_conflict")
    async with suite.database.transaction(tenant.id) as session:
        assert len((await session.scalars(select(PlanMigrationRow))).all()) == 1
