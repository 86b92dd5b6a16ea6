"""Plans and their prices."""

from typing import Any

import pytest

from tests.answers import fine, refused
from tests.suite import Suite

PLANS = "/api/v1/plans"


async def test_anybody_reads_the_plans_of_the_contract(suite: Suite) -> None:
    async with suite.client_at("10.99.4.1") as client:
        plans = fine(await client.get(PLANS))
        assert [plan["plan"] for plan in plans] == ["basic", "premium", "enterprise", "custom"]
        assert [plan["maxUsers"] for plan in plans] == [100, 1_000, 10_000, None]
        assert [plan["maxStorage"] for plan in plans] == [10, 100, 1_000, None]
        daily = [plan["configuration"]["api.rate_limit"] for plan in plans]
        assert daily == [1_000, 10_000, 100_000, None]
        assert fine(await client.get(f"{PLANS}/basic")) == plans[0]
        refused(await client.get(f"{PLANS}/gold"), 404, "plan_not_found")


async def test_a_bad_bearer_does_not_close_an_open_route(suite: Suite) -> None:
    fine(await suite.client.get(PLANS, headers={"Authorization": "Bearer nonsense"}))


async def test_an_operator_changes_a_price_for_later_periods(suite: Suite) -> None:
    answer = await suite.client.get(f"{PLANS}/enterprise")
    before, tag = fine(answer)["monthlyPrice"], answer.headers["etag"]
    headers = suite.operator | {"If-Match": tag}
    body = {"monthlyPrice": before + 1_000}
    changed = await suite.client.patch(f"{PLANS}/enterprise", json=body, headers=headers)
    assert fine(changed)["monthlyPrice"] == before + 1_000
    assert fine(await suite.client.get(f"{PLANS}/enterprise"))["monthlyPrice"] == before + 1_000
    again = await suite.client.patch(f"{PLANS}/enterprise", json=body, headers=headers)
    refused(again, 412, "precondition_failed")
    back = {"monthlyPrice": before}
    fine(await suite.client.patch(f"{PLANS}/enterprise", json=back, headers=suite.operator))


async def test_a_price_is_nobody_elses_to_change(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    body = {"monthlyPrice": 1}
    refused(
        await suite.client.patch(f"{PLANS}/premium", json=body, headers=tenant.auth), 403, "permission_denied"
    )
    async with suite.client_at("10.99.4.2") as stranger:
        refused(await stranger.patch(f"{PLANS}/premium", json=body), 401, "authentication_required")


@pytest.mark.parametrize(
    ("plan", "body", "status", "code"),
    [
        ("custom", {"monthlyPrice": 1}, 422, "price_by_contract"),
        ("gold", {"monthlyPrice": 1}, 404, "plan_not_found"),
        ("basic", {"monthlyPrice": -1}, 422, "validation_failed"),
        ("basic", {"monthlyPrice": 1.5}, 422, "validation_failed"),
        ("basic", {"monthlyPrice": None}, 422, "validation_failed"),
        ("basic", {"maxUsers": 5}, 422, "validation_failed"),
    ],
)
async def test_a_price_that_does_not_fit_is_refused(
    suite: Suite, plan: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await suite.client.patch(f"{PLANS}/{plan}", json=body, headers=suite.operator)
    refused(answer, status, code)
