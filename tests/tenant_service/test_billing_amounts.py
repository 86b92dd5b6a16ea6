"""The arithmetic of billing: money is neither lost nor made, whatever happens and when."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_tenancy.plans import GIB, PLANS, PlanName
from tenant_service.billing.amounts import Credit, Line, bill, credits_in, taken_back, total_of
from tenant_service.billing.changes import Change
from tenant_service.billing.covers import Cover
from tenant_service.billing.overage import Held, overage
from tenant_service.billing.page import money
from tenant_service.billing.periods import Period, anniversary
from tenant_service.billing.proration import Stay, rest, used

ANCHORS = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001  # the time zone comes with `timezones`
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
PRICES = st.integers(0, 10**9)
SHARES = st.fractions(0, 1)


def at(period: Period, share: Fraction) -> datetime:
    return period.start + timedelta(microseconds=int(period.length * share))


@pytest.mark.parametrize(
    ("anchor", "months", "expected"),
    [
        ("2025-01-31T10:00:00", 1, "2025-02-28T10:00:00"),
        ("2025-01-31T10:00:00", 2, "2025-03-31T10:00:00"),
        ("2025-01-31T10:00:00", 3, "2025-04-30T10:00:00"),
        ("2024-01-30T10:00:00", 1, "2024-02-29T10:00:00"),
        ("2023-11-30T23:59:59", 3, "2024-02-29T23:59:59"),
        ("2024-02-29T00:00:00", 12, "2025-02-28T00:00:00"),
        ("2024-02-29T00:00:00", 48, "2028-02-29T00:00:00"),
        ("2025-12-15T08:30:00", 1, "2026-01-15T08:30:00"),
    ],
)
def test_a_month_later_is_the_same_day_or_the_months_last(anchor: str, months: int, expected: str) -> None:
    start = datetime.fromisoformat(anchor).replace(tzinfo=UTC)
    assert anniversary(start, months) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@given(ANCHORS, st.integers(0, 600))
def test_periods_follow_one_another_without_gap_or_overlap(anchor: datetime, number: int) -> None:
    this, following = Period.of(anchor, number), Period.of(anchor, number + 1)
    assert this.start < this.end == following.start
    assert timedelta(days=28) <= this.end - this.start <= timedelta(days=31)


@given(ANCHORS, PRICES, st.lists(SHARES, max_size=12))
def test_however_a_period_is_cut_its_parts_add_up_to_the_price(
    anchor: datetime, price: int, cuts: list[Fraction]
) -> None:
    period = Period.of(anchor, 0)
    marks = [period.start, *sorted(at(period, cut) for cut in cuts), period.end]
    parts = [used(price, period, end) - used(price, period, start) for start, end in pairwise(marks)]
    assert sum(parts) == price
    assert all(part >= 0 for part in parts)
    for part, (start, end) in zip(parts, pairwise(marks), strict=True):
        share = Fraction(period.elapsed(end) - period.elapsed(start), period.length)
        assert abs(part - price * share) < 1


@given(ANCHORS, PRICES, SHARES)
def test_what_is_used_and_what_is_left_are_the_price(anchor: datetime, price: int, share: Fraction) -> None:
    period = Period.of(anchor, 0)
    moment = at(period, share)
    assert used(price, period, moment) + rest(price, period, moment) == price
    assert (used(price, period, period.start), used(price, period, period.end)) == (0, price)


AMOUNTS = st.integers(-(10**9), 10**9).filter(bool)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5), st.lists(AMOUNTS, max_size=6))
def test_a_bill_is_never_negative_and_credits_are_kept_to_the_cent(
    charged: list[int], given_back: list[int]
) -> None:
    charges = [Line(f"charge {number}", amount) for number, amount in enumerate(charged)]
    credits = [Credit(f"credit {number}", amount) for number, amount in enumerate(given_back)]
    made = bill(charges, credits)
    assert made.total == total_of(made.lines) >= 0
    left = sum(credit.amount for credit in made.credits)
    assert made.total - left == sum(charged) - sum(given_back)
    # What could still be taken off was: credit is left only where nothing is to be paid.
    assert left == 0 or made.total == 0
    assert all(credit.amount > 0 for credit in made.credits)
    # What was taken can be told from the lines alone, for when the invoice is made void.
    taken = credits_in([line.stored() for line in made.lines])
    assert sum(credit.amount for credit in taken) == sum(given_back) - left


@given(st.lists(AMOUNTS, max_size=6), st.integers(0, 10**9))
def test_what_was_no_credit_goes_from_the_newest_and_what_is_not_there_is_asked_for(
    given_back: list[int], amount: int
) -> None:
    credits = [Credit(f"credit {number}", one) for number, one in enumerate(given_back)]
    left = taken_back(credits, amount, "taken back")
    assert sum(one.amount for one in left) == sum(given_back) - amount
    assert all(one.amount for one in left)
    asked = [one.amount for one in left if one.description == "taken back"]
    there = sum(one for one in given_back if one > 0)
    assert asked == ([there - amount] if amount > there else [])


@given(ANCHORS, PRICES, PRICES, SHARES)
def test_a_dearer_plan_is_never_a_credit_and_a_cheaper_one_never_a_charge(
    anchor: datetime, one: int, other: int, share: Fraction
) -> None:
    period = Period.of(anchor, 0)
    before, after = Stay("basic", one), Stay("premium", other)
    net = Change(before, after, (Cover(None, one, one),), period, at(period, share)).net
    assert net >= 0 if other >= one else net <= 0


def test_what_a_frozen_tenant_holds_above_its_plan_costs_as_much_as_what_is_included() -> None:
    basic = PLANS[PlanName.BASIC]
    held = Held(users=130, storage_bytes=12 * GIB + 1)
    lines = [line.stored() for line in overage(basic, 2_900, held)]
    assert [(line["quantity"], line["unitAmount"], line["amount"]) for line in lines] == [
        (30, 29, 870),
        (3, 290, 870),
    ]
    assert overage(basic, 2_900, Held(100, 10 * GIB)) == []
    # A cent is not cut: 2,901 cents over 100 users are 30 for each above them.
    assert overage(basic, 2_901, Held(101, 0))[0].unit_amount == 30


def test_a_contract_covers_whatever_its_tenant_holds() -> None:
    assert overage(PLANS[PlanName.CUSTOM], 500_000, Held(10**6, 10**15)) == []


@pytest.mark.parametrize(
    ("cents", "shown"),
    [
        (0, "$0.00"),
        (5, "$0.05"),
        (299_900, "$2,999.00"),
        (-2_905, "\N{MINUS SIGN}$29.05"),
        (10**17 + 1, None),
    ],
)
def test_money_is_shown_to_the_cent(cents: int, shown: str | None) -> None:
    assert money(cents) == (shown or "$1,000,000,000,000,000.01")
