"""Changes of plan on the bill, over HTTP: what is held above a plan, and what becomes of void invoices."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from mis_tenancy.plans import GIB
from tests.answers import fine
from tests.suite import Suite, TenantHandle
from tests.tenant_service.billing import (
    billing_of,
    invoices_of,
    let_pass,
    set_subscription,
    settle,
    subscription_of,
)
from tests.tenant_service.plan_moves import hold, let_the_period_end, migrate
from tests.tenant_service.requests import TENANTS

HALF = timedelta(days=15)


async def halfway(suite: Suite, tenant: TenantHandle) -> None:
    """Let the tenant be in the middle of a period of thirty days."""
    start = datetime.now(UTC) - HALF
    await set_subscription(suite, tenant, anchor_at=start, period_start=start, period_end=start + 2 * HALF)


async def net_of(suite: Suite, tenant: TenantHandle) -> int:
    """Return what the tenant's unvoided invoices come to, less the credits that are left."""
    billed = sum(one["total"] for one in await invoices_of(suite, tenant) if one["status"] != "void")
    return int(billed - (await billing_of(suite, tenant))["credit"])


def amounts(invoice: dict[str, Any]) -> dict[str, int]:
    """Return what the invoice's lines come to, by what they say before their dates."""
    return {line["description"].partition(" 20")[0].strip(" ,"): line["amount"] for line in invoice["lines"]}


async def test_what_is_held_above_a_plan_is_paid_for_from_the_change_until_it_is_lifted(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("premium")
    await halfway(suite, tenant)
    # 100 users at 29 cents and 10 GiB at 290, for half a month.
    await hold(suite, tenant, users=200, storage_bytes=20 * GIB)
    foretold = fine(await migrate(suite, tenant, "basic", query="?dryRun=true", onOverLimit="freeze"))
    moved = fine(await migrate(suite, tenant, "basic", onOverLimit="freeze"))
    proration = moved["proration"]
    assert proration["overage"] == foretold["proration"]["overage"] == 5_800
    assert abs(proration["charge"] - (1_450 + 2_900)) <= 1
    assert abs(proration["unused"] - 14_950) <= 1
    billing = await billing_of(suite, tenant)
    assert (billing["price"], billing["overage"]) == (2_900, 5_800)
    assert billing["credit"] == proration["credit"] == proration["unused"] - proration["charge"]
    (credit,) = billing["credits"]
    assert credit["description"].startswith("Less for Basic and what is held above it than for Premium, 20")

    # Lifted at once, it has cost what the moments came to.
    back = fine(await migrate(suite, tenant, "premium"))
    newest = (await invoices_of(suite, tenant))[0]
    assert list(amounts(newest))[:4] == [
        "Basic plan, not used",
        "Users and storage above the Basic plan's limits, not used",
        "Premium plan",
        "Less for Basic and what is held above it than for Premium",
    ]
    assert abs(amounts(newest)["Users and storage above the Basic plan's limits, not used"] + 2_900) <= 1
    assert newest["total"] == back["proration"]["dueNow"] <= 1
    assert (await billing_of(suite, tenant))["overage"] == 0
    assert abs(await net_of(suite, tenant) - 29_900) <= 1


async def test_who_has_paid_for_a_month_above_the_plan_and_upgrades_gets_the_rest_of_it_back(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("basic")
    await hold(suite, tenant, users=110, storage_bytes=11 * GIB)
    await let_the_period_end(suite, tenant)
    (invoice, _) = await invoices_of(suite, tenant)
    assert [line["amount"] for line in invoice["lines"]] == [2_900, 290, 290]
    assert (await billing_of(suite, tenant))["overage"] == 580
    await halfway(suite, tenant)
    moved = fine(await migrate(suite, tenant, "premium"))
    newest = (await invoices_of(suite, tenant))[0]
    assert abs(amounts(newest)["Users and storage above the Basic plan's limits, not used"] + 290) <= 1
    assert abs(moved["proration"]["unused"] - (1_450 + 290)) <= 1
    assert newest["total"] == moved["proration"]["dueNow"]


async def test_a_frozen_downgrade_that_costs_more_than_the_plan_before_is_invoiced(suite: Suite) -> None:
    tenant = await suite.tenant("enterprise")
    await halfway(suite, tenant)
    # 990 GiB at 290 cents and 9,900 users at 29 are more than enterprise's 2,999 dollars.
    await hold(suite, tenant, users=10_000, storage_bytes=1_000 * GIB)
    moved = fine(await migrate(suite, tenant, "basic", onOverLimit="freeze"))
    newest = (await invoices_of(suite, tenant))[0]
    assert newest["total"] == moved["proration"]["dueNow"] > 0
    assert list(amounts(newest)) == [
        "Enterprise plan, not used",
        "Basic plan",
        "Users and storage above the Basic plan's limits",
    ]


async def test_an_upgrade_whose_invoice_is_void_gives_nothing_back(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    await halfway(suite, tenant)
    fine(await migrate(suite, tenant, "premium"))
    await settle(suite, tenant, (await invoices_of(suite, tenant))[0]["id"], "void")
    foretold = fine(await migrate(suite, tenant, "basic", query="?dryRun=true"))["proration"]
    assert abs(foretold["unused"] - 1_450) <= 1
    moved = fine(await migrate(suite, tenant, "basic"))["proration"]
    assert abs(moved["net"]) <= 1
    assert (await billing_of(suite, tenant))["credit"] == moved["credit"] <= 1
    # From here on all is as if nothing had been.
    again = fine(await migrate(suite, tenant, "premium"))["proration"]
    assert abs(again["dueNow"] - 13_500) <= 2


async def test_a_mistaken_upgrade_that_was_taken_back_is_void_without_a_trace(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    await halfway(suite, tenant)
    fine(await migrate(suite, tenant, "enterprise"))
    mistaken = (await invoices_of(suite, tenant))[0]
    fine(await migrate(suite, tenant, "basic"))
    assert (await billing_of(suite, tenant))["credit"] > 148_000
    await settle(suite, tenant, mistaken["id"], "void")
    billing = await billing_of(suite, tenant)
    assert (billing["credit"], billing["owed"]) == (0, 2_900)
    assert billing["nextInvoice"]["total"] == 2_900


async def test_a_month_whose_invoice_is_void_gives_nothing_back_and_the_next_plan_is_paid_for(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("premium")
    await halfway(suite, tenant)
    (invoice,) = await invoices_of(suite, tenant)
    await settle(suite, tenant, invoice["id"], "void")
    moved = fine(await migrate(suite, tenant, "basic"))["proration"]
    assert (moved["unused"], moved["credit"]) == (0, 0)
    newest = (await invoices_of(suite, tenant))[0]
    assert list(amounts(newest)) == ["Basic plan"]
    assert newest["total"] == moved["dueNow"] == moved["charge"]
    assert abs(moved["charge"] - 1_450) <= 1


async def test_a_credit_that_was_used_before_its_invoice_became_void_is_asked_for_again(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("basic")
    await halfway(suite, tenant)
    fine(await migrate(suite, tenant, "premium"))
    mistaken = (await invoices_of(suite, tenant))[0]
    fine(await migrate(suite, tenant, "basic"))
    # The second upgrade takes off what the first one's invoice had charged.
    fine(await migrate(suite, tenant, "premium"))
    await settle(suite, tenant, mistaken["id"], "void")
    billing = await billing_of(suite, tenant)
    assert abs(billing["credit"] + 13_500) <= 2
    why = f"Credit taken back, because invoice {mistaken['number']} is void"
    assert billing["credits"] == [{"description": why, "amount": billing["credit"]}]
    assert [line["description"] for line in billing["nextInvoice"]["lines"]][1:] == [why]
    assert billing["nextInvoice"]["total"] == 29_900 - billing["credit"]
    # On the next invoice it is a line, and none of it is forgiven with that invoice.
    fine(await migrate(suite, tenant, "enterprise"))
    (newest, *_) = await invoices_of(suite, tenant)
    assert newest["lines"][-1]["description"] == why
    assert (await billing_of(suite, tenant))["credit"] == 0
    await settle(suite, tenant, newest["id"], "void")
    assert (await billing_of(suite, tenant))["credits"] == billing["credits"]
    page = await suite.client.get(
        f"{TENANTS}/{tenant.id}/invoices/{newest['id']}", headers=tenant.auth | {"Accept": "text/html"}
    )
    assert f"<td>{why}</td>" in page.text


async def test_an_invoice_of_a_period_that_is_over_takes_its_credit_along_when_it_becomes_void(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("basic")
    (first,) = await invoices_of(suite, tenant)
    await settle(suite, tenant, first["id"])
    await halfway(suite, tenant)
    fine(await migrate(suite, tenant, "enterprise"))
    mistaken = (await invoices_of(suite, tenant))[0]
    fine(await migrate(suite, tenant, "basic"))
    await let_pass(suite, tenant, (await subscription_of(suite, tenant)).period_end)
    assert (await billing_of(suite, tenant))["credit"] > 145_000
    await settle(suite, tenant, mistaken["id"], "void")
    # The renewal has taken the price of a month off, which the next one asks for.
    billing = await billing_of(suite, tenant)
    assert (billing["credit"], billing["owed"]) == (-2_900, 0)
    assert billing["nextInvoice"]["total"] == 5_800
    assert await net_of(suite, tenant) == 5_800


async def test_a_change_and_a_voiding_at_once_take_turns(suite: Suite) -> None:
    for _ in range(3):
        tenant = await suite.tenant("basic")
        await halfway(suite, tenant)
        fine(await migrate(suite, tenant, "premium"))
        (upgrade, _) = await invoices_of(suite, tenant)
        void = settle(suite, tenant, upgrade["id"], "void")
        answer, _ = await asyncio.gather(migrate(suite, tenant, "basic"), void)
        fine(answer)
        assert abs(await net_of(suite, tenant) - 2_900) <= 1


async def test_what_a_version_before_has_changed_counts_as_paid(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    await halfway(suite, tenant)
    await set_subscription(suite, tenant, covers=[])
    moved = fine(await migrate(suite, tenant, "basic"))["proration"]
    assert abs(moved["unused"] - 14_950) <= 1
    # And the covers are known from then on.
    again = fine(await migrate(suite, tenant, "premium"))["proration"]
    assert abs(again["unused"] - 1_450) <= 1
