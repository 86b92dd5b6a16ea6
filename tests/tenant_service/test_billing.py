"""Subscriptions and invoices over HTTP: the first invoice, payment, cancellation, contracts, the page."""

import asyncio
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from mis_models.billing import InvoiceRow
from mis_models.platform import PlatformAuditRow
from tenant_service.billing.errors import PaymentDeclined
from tenant_service.billing.payments import Demand, Receipt
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.billing import billing_of, events_of, invoices_of, set_subscription, settle
from tests.tenant_service.exports import finished, opened, rows_of
from tests.tenant_service.requests import TENANTS, audit_rows, create, fields, patch

PRICES = {"basic": 2_900, "premium": 29_900, "enterprise": 299_900}


async def post(suite: Suite, tenant: TenantHandle, rest: str, headers: Any = None, **body: Any) -> Any:
    path = f"{TENANTS}/{tenant.id}/{rest}"
    return await suite.client.post(path, json=body or None, headers=headers or suite.operator)


@pytest.mark.parametrize("plan", PRICES)
async def test_the_first_invoice_comes_with_the_tenant(suite: Suite, plan: str) -> None:
    tenant = await suite.tenant(plan)
    (invoice,) = await invoices_of(suite, tenant)
    assert (invoice["status"], invoice["total"], invoice["currency"]) == ("open", PRICES[plan], "USD")
    assert re.fullmatch(r"INV-[0-9A-F]{8}-0001", invoice["number"])
    assert invoice["lines"][0]["description"].startswith(plan.capitalize())
    billing = await billing_of(suite, tenant)
    assert (billing["state"], billing["plan"], billing["price"]) == ("active", plan, PRICES[plan])
    assert (billing["owed"], billing["credit"]) == (PRICES[plan], 0)
    assert billing["currentPeriodStart"] == invoice["periodStart"] == tenant.document["createdAt"]
    draft = billing["nextInvoice"]
    assert (draft["status"], draft["total"]) == ("draft", PRICES[plan])
    assert draft["periodStart"] == billing["currentPeriodEnd"]
    assert await events_of(suite, tenant) == ["invoice.issued"]


async def test_a_contract_without_a_price_is_a_free_trial_until_it_has_one(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    (invoice,) = await invoices_of(suite, tenant)
    assert (invoice["status"], invoice["total"]) == ("paid", 0)
    billing = await billing_of(suite, tenant)
    assert (billing["state"], billing["price"], billing["nextInvoice"]["total"]) == ("trialing", None, 0)
    path = f"{TENANTS}/{tenant.id}/billing"
    agreed = fine(await suite.client.patch(path, json={"contractPrice": 500_000}, headers=suite.operator))
    assert (agreed["state"], agreed["price"], agreed["contractPrice"]) == ("active", 500_000, 500_000)
    newest = (await invoices_of(suite, tenant))[0]
    # Of the month only the first moments were free.
    assert newest["status"] == "open"
    assert 499_900 < newest["total"] <= 500_000
    # A price that follows one holds for periods that start later.
    later = fine(await suite.client.patch(path, json={"contractPrice": 600_000}, headers=suite.operator))
    assert (later["price"], later["nextInvoice"]["total"]) == (500_000, 600_000)
    assert len(await invoices_of(suite, tenant)) == 2
    logs = await suite.client.get(
        f"{TENANTS}/{tenant.id}/audit-logs", params={"action": "billing.agreed"}, headers=tenant.auth
    )
    rows = fine(logs)
    assert rows[0]["changes"] == {"contract_price": {"old": 500_000, "new": 600_000}}


async def test_a_price_is_agreed_only_on_what_its_operator_has_read(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    path = f"{TENANTS}/{tenant.id}/billing"
    read = await suite.client.get(path, headers=suite.operator)
    expected = suite.operator | {"If-Match": read.headers["etag"]}
    first = await suite.client.patch(path, json={"contractPrice": 500_000}, headers=expected)
    assert fine(first)["contractPrice"] == 500_000
    second = await suite.client.patch(path, json={"contractPrice": 1}, headers=expected)
    refused(second, 412, "precondition_failed")
    (invoice, _) = await invoices_of(suite, tenant)
    await settle(suite, tenant, invoice["id"])
    expected["If-Match"] = first.headers["etag"]
    third = await suite.client.patch(path, json={"contractPrice": 1}, headers=expected)
    refused(third, 412, "precondition_failed")
    assert (await billing_of(suite, tenant))["contractPrice"] == 500_000


async def test_a_price_on_another_plan_waits_for_the_contract(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    path = f"{TENANTS}/{tenant.id}/billing"
    agreed = fine(await suite.client.patch(path, json={"contractPrice": 1}, headers=suite.operator))
    assert (agreed["plan"], agreed["price"], agreed["contractPrice"]) == ("basic", 2_900, 1)
    for unfit in ({"contractPrice": -1}, {"contractPrice": "much"}, {"contractPrice": 10**13}, {}):
        answer = await suite.client.patch(path, json=unfit, headers=suite.operator)
        assert fields(refused(answer, 422, "validation_failed"))[0][0] == "contractPrice"


async def test_an_invoice_is_paid_once_however_often_it_is_said(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    (invoice,) = await invoices_of(suite, tenant)
    rest = f"invoices/{invoice['id']}/pay"
    answers = await asyncio.gather(*(post(suite, tenant, rest, reference="Wire 17") for _ in range(5)))
    paid = [fine(answer) for answer in answers]
    assert paid == [paid[0]] * 5
    assert (paid[0]["status"], paid[0]["paidThrough"], paid[0]["paymentReference"]) == (
        *("paid", "manual"),
        "Wire 17",
    )
    assert await events_of(suite, tenant) == ["invoice.issued", "invoice.paid"]
    assert [row["action"] for row in await audit_rows(suite, tenant.id)].count("invoice.paid") == 1
    assert (await billing_of(suite, tenant))["owed"] == 0
    problem = refused(await post(suite, tenant, f"invoices/{invoice['id']}/void"), 409, "invoice_not_payable")
    assert problem["invoiceStatus"] == "paid"


async def test_a_void_invoice_is_owed_and_paid_no_more(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    (invoice,) = await invoices_of(suite, tenant)
    voided = await settle(suite, tenant, invoice["id"], "void")
    assert (voided["status"], voided["paidAt"]) == ("void", None)
    assert await settle(suite, tenant, invoice["id"], "void") == voided
    refused(await post(suite, tenant, f"invoices/{invoice['id']}/pay"), 409, "invoice_not_payable")
    assert (await billing_of(suite, tenant))["owed"] == 0


class Declining:
    """A provider that turns the first demand down, and takes the next."""

    def __init__(self) -> None:
        self.demands: list[Demand] = []

    async def collect(self, demand: Demand) -> Receipt:
        self.demands.append(demand)
        if len(self.demands) == 1:
            raise PaymentDeclined
        return Receipt("card", "ch_1")


@pytest.fixture
def declining(suite: Suite) -> Iterator[Declining]:
    """A provider in the place of the manual one."""
    state = suite.apps["tenant"].state
    manual, state.payment_provider = state.payment_provider, Declining()
    yield state.payment_provider
    state.payment_provider = manual


async def test_a_provider_collects_under_one_key_and_a_refusal_of_its_changes_nothing(
    suite: Suite, declining: Declining
) -> None:
    tenant = await suite.tenant("premium")
    (invoice,) = await invoices_of(suite, tenant)
    refused(await post(suite, tenant, f"invoices/{invoice['id']}/pay"), 402, "payment_declined")
    assert (await invoices_of(suite, tenant))[0]["status"] == "open"
    paid = await settle(suite, tenant, invoice["id"])
    assert (paid["paidThrough"], paid["paymentReference"]) == ("card", "ch_1")
    assert [(str(one.key), one.amount, one.currency) for one in declining.demands] == [
        (invoice["id"], 29_900, "USD")
    ] * 2


async def test_an_owner_cancels_and_takes_it_back(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    for _ in range(2):
        billing = fine(await post(suite, tenant, "billing/cancel", tenant.auth))
        assert (billing["state"], billing["cancelAtPeriodEnd"], billing["nextInvoice"]) == (
            *("active", True),
            None,
        )
    for _ in range(2):
        billing = fine(await post(suite, tenant, "billing/resume", tenant.auth))
        assert (billing["cancelAtPeriodEnd"], billing["nextInvoice"]["total"]) == (False, 2_900)
    fine(await post(suite, tenant, "billing/cancel"))
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        own = select(PlatformAuditRow.action).where(PlatformAuditRow.tenant_id == tenant.id)
        assert "billing.canceled" in list(await session.scalars(own))
    fine(await post(suite, tenant, "billing/resume"))
    actions = [row["action"] for row in await audit_rows(suite, tenant.id)]
    assert (actions.count("billing.canceled"), actions.count("billing.resumed")) == (2, 2)
    admin = await suite.user(tenant, "admin")
    problem = refused(await post(suite, tenant, "billing/cancel", admin.auth), 403, "permission_denied")
    assert problem["required"] == "billing:write"


async def test_an_ended_subscription_has_nothing_to_cancel_and_begins_anew(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    await set_subscription(suite, tenant, state="canceled")
    refused(await post(suite, tenant, "billing/cancel", tenant.auth), 409, "subscription_ended")
    billing = await billing_of(suite, tenant)
    assert (billing["state"], billing["nextInvoice"]) == ("canceled", None)
    resumed = fine(await post(suite, tenant, "billing/resume", tenant.auth))
    assert resumed["state"] == "active"
    assert resumed["currentPeriodStart"] > billing["currentPeriodStart"]
    assert [invoice["total"] for invoice in await invoices_of(suite, tenant)] == [2_900, 2_900]


async def test_invoices_are_paged_and_found_by_no_other_id(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    for _ in range(2):
        await set_subscription(suite, tenant, state="canceled")
        fine(await post(suite, tenant, "billing/resume"))
    path = f"{TENANTS}/{tenant.id}/invoices"
    first = await suite.client.get(path, params={"limit": 2}, headers=tenant.auth)
    rest = await suite.client.get(first.links["next"]["url"], headers=tenant.auth)
    numbers = [invoice["number"][-4:] for invoice in (*fine(first), *fine(rest))]
    assert (numbers, "next" in rest.links) == (["0003", "0002", "0001"], False)
    one = await suite.client.get(f"{path}/{fine(first)[0]['id']}", headers=tenant.auth)
    assert (fine(one), one.headers["etag"]) == (fine(first)[0], '"3-open"')
    for named in (str(uuid4()), "1", "INV-1"):
        refused(await suite.client.get(f"{path}/{named}", headers=tenant.auth), 404, "invoice_not_found")


async def test_invoices_are_in_an_archive_as_the_api_shows_them(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    (first,) = await invoices_of(suite, tenant)
    await settle(suite, tenant, first["id"])
    archive = await opened(suite, await finished(suite, tenant, "invoices"))
    (exported,) = rows_of(archive, "invoices")
    (shown,) = await invoices_of(suite, tenant)
    moments = {name for name in shown if name.endswith(("At", "Start", "End"))}
    assert set(exported) == set(shown)
    for name in shown.keys() - moments:
        assert exported[name] == shown[name], name


async def test_an_invoice_is_also_a_page_in_which_nothing_runs(suite: Suite) -> None:
    """Catalogue 127: what a tenant calls itself is text on the page."""
    tenant = await suite.tenant("premium")
    name = '<script>alert(1)</script> & "Söhne"'
    fine(await patch(suite, tenant, suite.operator, name=name))
    async with suite.apps["tenant"].state.platform.transaction(tenant.id) as session:
        hostile = [{"description": "<img src=x>", "quantity": 1, "unitAmount": 29_900, "amount": 29_900}]
        await session.execute(update(InvoiceRow).values(lines=hostile))
    (invoice,) = await invoices_of(suite, tenant)
    answer = await suite.client.get(
        f"{TENANTS}/{tenant.id}/invoices/{invoice['id']}", headers=tenant.auth | {"Accept": "text/html"}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    html = answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;Söhne&#34;" in html
    assert not re.search(r"<(?:script|img|link|iframe|form)\b|\bon\w+=|https?://|url\(", html)
    assert invoice["number"] in html
    assert "$299.00" in html
    policy = answer.headers["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style is not None
    digest = b64encode(sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_price_is_that_of_the_moment_in_which_the_tenant_is_made(suite: Suite) -> None:
    path = "/api/v1/plans/enterprise"
    try:
        fine(await suite.client.patch(path, json={"monthlyPrice": 250_001}, headers=suite.operator))
        tenant = fine(await create(suite, plan="enterprise"), 201)
    finally:
        fine(await suite.client.patch(path, json={"monthlyPrice": 299_900}, headers=suite.operator))
    billing = fine(await suite.client.get(f"{TENANTS}/{tenant['id']}/billing", headers=suite.operator))
    # The period that runs keeps its price; the next one has that of today.
    assert (billing["price"], billing["owed"], billing["nextInvoice"]["total"]) == (
        *(250_001, 250_001),
        299_900,
    )
