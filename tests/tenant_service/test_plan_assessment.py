"""What a change of plan means, from values alone: limits, features, and which of the tenant's values stay."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_tenancy.configuration import KNOWN, plan_layer
from mis_tenancy.plans import GIB, PLANS, Feature, PlanName
from tenant_service.plan_migration.assessment import Situation, assess, is_lowered


def situation(plan: str, *, users: int = 1, storage: int = 0, today: int = 0, **overrides: Any) -> Situation:
    limits = PLANS[PlanName(plan)]
    return Situation(
        plan=PlanName(plan),
        max_users=limits.max_users,
        max_storage=limits.max_storage,
        users=users,
        storage_bytes=storage,
        requests_today=today,
        overrides=overrides,
    )


def test_a_downgrade_names_each_limit_that_the_tenant_is_above() -> None:
    """Catalogue 96."""
    found = assess(situation("premium", users=101, storage=10 * GIB + 1, today=1_001), PlanName.BASIC)
    assert [(limit.limit, limit.used, limit.old, limit.new) for limit in found.over] == [
        ("users", 101, 1_000, 100),
        ("storage", 10 * GIB + 1, 100 * GIB, 10 * GIB),
        ("api.rate_limit", 1_001, 10_000, 1_000),
    ]
    assert [limit.limit for limit in found.limits if not limit.over] == [
        "api.burst_limit",
        "file_upload.max_size",
    ]
    assert assess(situation("premium", users=100, storage=10 * GIB, today=1_000), PlanName.BASIC).over == ()


def test_nothing_is_above_what_is_unlimited() -> None:
    found = assess(situation("enterprise", users=10**6, storage=2**60, today=10**9), PlanName.CUSTOM)
    assert found.over == ()
    assert [limit.new for limit in found.limits][:3] == [None, None, None]


def test_features_come_and_go_with_the_plan_unless_the_tenant_keeps_one_off() -> None:
    """Catalogue 95."""
    found = assess(situation("basic"), PlanName.ENTERPRISE)
    assert (set(found.gained), found.lost) == (set(Feature), ())
    off = {"features.biometric_auth": False}
    found = assess(situation("basic", **off), PlanName.PREMIUM)
    assert (found.gained, found.kept) == ((Feature.CUSTOM_BRANDING,), off)
    found = assess(situation("enterprise", **off), PlanName.BASIC)
    assert Feature.BIOMETRIC_AUTH not in found.lost


@pytest.mark.parametrize(
    ("old", "new", "key", "value", "stays"),
    [
        ("basic", "premium", "session.timeout", 1_800, True),
        ("premium", "basic", "session.timeout", 3_600, True),
        ("premium", "basic", "session.timeout", 3_601, False),
        ("premium", "basic", "api.rate_limit", 5_000, False),
        # An operator's grant for the old plan would be a restriction on the new one.
        ("basic", "premium", "api.rate_limit", 5_000, False),
        ("basic", "premium", "api.rate_limit", 500, True),
        ("custom", "enterprise", "api.rate_limit", None, False),
        ("basic", "premium", "security.password_policy", {"minLength": 9}, False),
        ("basic", "premium", "security.password_policy", {"minLength": 14}, True),
        ("premium", "basic", "security.password_policy", {"requireSpecialChars": False}, False),
        ("basic", "premium", "features.ai_verification", True, False),
        ("custom", "basic", "features.ai_verification", True, False),
        ("basic", "premium", "session.absolute_timeout", 86_400, True),
    ],
)
def test_a_value_stays_where_it_was_and_is_a_choice_within_the_plan(
    old: str, new: str, key: str, value: Any, *, stays: bool
) -> None:
    found = assess(situation(old, **{key: value}), PlanName(new))
    assert (key in found.kept, key in found.dropped) == (stays, not stays)


VALUES = {
    "session.timeout": st.integers(60, 20_000),
    "api.rate_limit": st.none() | st.integers(1, 200_000),
    "api.burst_limit": st.integers(1, 2_000),
    "file_upload.max_size": st.integers(1, 2_000 * GIB),
    **{f"features.{feature}": st.booleans() for feature in Feature},
}


@given(
    st.sampled_from(list(product(PlanName, PlanName))),
    st.fixed_dictionaries({}, optional=VALUES),
)
def test_after_a_change_nothing_exceeds_the_new_plan_and_the_lists_are_complete(
    plans: tuple[PlanName, PlanName], overrides: dict[str, Any]
) -> None:
    old, new = plans
    found = assess(situation(old, **overrides), new)
    assert {**found.kept, **found.dropped} == overrides
    for key, value in found.kept.items():
        assert KNOWN[key].allows(value, plan_layer(new)[key])
    changed = {one.key for one in found.changed}
    assert {f"features.{feature}" for feature in (*found.gained, *found.lost)} <= changed
    assert not {one.key for one in found.changed if one.old == one.new}


@pytest.mark.parametrize(
    ("key", "value", "lowered"),
    [
        ("api.rate_limit", 9_999, True),
        ("api.rate_limit", 10_000, False),
        ("api.rate_limit", 10_001, False),
        ("features.biometric_auth", False, True),
        ("features.biometric_auth", True, False),
        ("features.ai_verification", True, False),
        ("security.password_policy", {"minLength": 11}, True),
        ("security.password_policy", {"minLength": 10}, False),
        ("file_upload.allowed_types", ["image/*"], False),
    ],
)
def test_lowered_is_what_is_less_than_the_plan_gives(key: str, value: Any, lowered: bool) -> None:
    assert is_lowered(key, value, PlanName.PREMIUM) is lowered


def test_what_was_lowered_holds_where_it_is_less_than_the_plan_and_nothing_closer_is_set() -> None:
    word = {"api.rate_limit": 5_000}
    assert assess(replace(situation("basic"), lowered=word), PlanName.PREMIUM).kept == word
    assert assess(replace(situation("premium"), lowered=word), PlanName.BASIC).kept == {}
    own = {"api.rate_limit": 500}
    assert assess(replace(situation("basic", **own), lowered=word), PlanName.PREMIUM).kept == own
