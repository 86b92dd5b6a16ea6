"""Configuration in layers: default < plan < tenant, and how far a tenant may move it."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_tenancy.configuration import (
    DEFAULTS,
    KNOWN,
    NAMESPACES,
    Rule,
    effective,
    is_unknown,
    merged,
    plan_layer,
)
from mis_tenancy.plans import GIB, PLANS, PlanName

plans = st.sampled_from(list(PlanName))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=3), json_values, max_size=4)
overrides = st.dictionaries(st.sampled_from([*KNOWN, "acme.flag", "acme.object"]), json_values, max_size=6)
policy_parts = st.fixed_dictionaries(
    {},
    optional={
        "minLength": st.integers(8, 128),
        "requireUppercase": st.booleans(),
        "requireLowercase": st.booleans(),
        "requireNumbers": st.booleans(),
        "requireSpecialChars": st.booleans(),
    },
)


@given(plans, overrides)
def test_each_key_has_its_tenants_value_else_its_plans_else_the_default(
    plan: PlanName, given_: dict[str, Any]
) -> None:
    values = effective(plan, given_)
    assert set(values) == set(DEFAULTS) | set(PLANS[plan].configuration) | set(given_)
    for key, value in values.items():
        below = PLANS[plan].configuration.get(key, DEFAULTS.get(key))
        if key not in given_:
            assert value == below
        elif not (isinstance(below, dict) and isinstance(given_[key], dict)):
            assert value == given_[key]


@given(plans, policy_parts)
def test_an_object_merges_field_by_field(plan: PlanName, part: dict[str, Any]) -> None:
    policy = effective(plan, {"security.password_policy": part})["security.password_policy"]
    below = PLANS[plan].configuration["security.password_policy"]
    assert set(policy) == set(below)
    assert all(value == part.get(field, below[field]) for field, value in policy.items())


@given(objects, objects, objects)
def test_merging_is_associative_and_keeps_both_sides_as_they_were(
    a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]
) -> None:
    before = copy.deepcopy((a, b))
    merged(a, b)
    assert (a, b) == before
    assert merged(a, {}) == a
    assert merged({}, b) == b
    assert merged(a, a) == a
    # Only among objects of objects: a plain value in the middle hides what lies below it.
    flat_a, flat_b, flat_c = ({key: str(value) for key, value in one.items()} for one in (a, b, c))
    assert merged(merged(flat_a, flat_b), flat_c) == merged(flat_a, merged(flat_b, flat_c))


@given(plans, overrides)
def test_the_effective_configuration_can_be_shared(plan: PlanName, given_: dict[str, Any]) -> None:
    before = copy.deepcopy(dict(PLANS[plan].configuration))
    values = effective(plan, given_)
    with pytest.raises(TypeError):
        values["api.rate_limit"] = 1  # type: ignore[index]  # that is the point
    assert PLANS[plan].configuration == before


@pytest.mark.parametrize("plan", list(PlanName))
def test_every_plan_fits_the_rules_it_sets(plan: PlanName) -> None:
    layer = plan_layer(plan)
    assert set(KNOWN) <= set(layer)
    for key, known in KNOWN.items():
        assert known.check(layer[key]) is None, key
        assert known.allows(layer[key], layer[key]), key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api.rate_limit", 0),
        ("api.rate_limit", -1),
        ("api.rate_limit", 1.5),
        ("api.rate_limit", "10"),
        ("api.rate_limit", True),
        ("api.rate_limit", 2**53 + 1),
        ("api.burst_limit", None),
        ("api.burst_limit", 0),
        ("session.timeout", 59),
        ("session.timeout", None),
        ("session.absolute_timeout", 299),
        ("file_upload.max_size", 0),
        ("features.biometric_auth", 1),
        ("features.biometric_auth", None),
        ("features.biometric_auth", "true"),
        ("security.password_policy", None),
        ("security.password_policy", []),
        ("security.password_policy", {"minLength": 7}),
        ("security.password_policy", {"minLength": True}),
        ("security.password_policy", {"minLength": 129}),
        ("security.password_policy", {"requireNumbers": "yes"}),
        ("security.password_policy", {"policyMode": "none"}),
        ("security.password_policy", {"policyMode": []}),
        ("security.password_policy", {"maxLength": 10}),
    ],
)
def test_a_value_that_does_not_fit_is_named(key: str, value: Any) -> None:
    assert KNOWN[key].check(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api.rate_limit", None),
        ("api.rate_limit", 1),
        ("session.timeout", 60),
        ("file_upload.max_size", 5 * GIB),
        ("features.custom_branding", False),
        ("security.password_policy", {}),
        ("security.password_policy", {"minLength": 20, "policyMode": "nist", "requireSpecialChars": True}),
    ],
)
def test_a_value_that_fits_is_taken(key: str, value: Any) -> None:
    assert KNOWN[key].check(value) is None


@pytest.mark.parametrize(
    ("key", "tighter", "looser"),
    [
        ("session.timeout", 600, 3_601),
        ("session.absolute_timeout", 3_600, 31 * 24 * 3_600),
        ("api.rate_limit", 999, 1_001),
        ("api.rate_limit", 1, None),
        ("api.burst_limit", 19, 21),
        ("file_upload.max_size", 1, 11 * GIB),
        ("features.custom_branding", False, True),
        ("security.password_policy", {"minLength": 9}, {"minLength": 7}),
        ("security.password_policy", {"requireSpecialChars": True}, {"requireNumbers": False}),
        ("security.password_policy", {}, {"minLength": 20, "requireUppercase": False}),
    ],
)
def test_a_tenant_moves_a_key_in_one_direction_only(key: str, tighter: Any, looser: Any) -> None:
    plan = plan_layer(PlanName.BASIC)[key]
    assert KNOWN[key].allows(tighter, plan)
    assert not KNOWN[key].allows(looser, plan)


@given(plans, policy_parts)
def test_a_password_policy_that_is_allowed_takes_no_password_the_plans_would_refuse(
    plan: PlanName, part: dict[str, Any]
) -> None:
    below = plan_layer(plan)["security.password_policy"]
    over = effective(plan, {"security.password_policy": part})["security.password_policy"]
    weaker = [field for field in below if field != "policyMode" and over[field] < below[field]]
    assert KNOWN["security.password_policy"].allows(part, below) is (not weaker)


def test_each_key_stands_in_a_namespace_that_says_who_may_loosen_it() -> None:
    assert all(key.startswith(NAMESPACES) for key in KNOWN)
    tighten = {key for key, known in KNOWN.items() if known.rule is Rule.TIGHTEN}
    assert tighten == {key for key in KNOWN if key.startswith(("security.", "session."))}


@pytest.mark.parametrize(
    ("key", "unknown"),
    [
        ("session.timeout", False),
        ("session.timeou", True),
        ("features.flying", True),
        ("branding.colour", True),
        ("acme.session.timeout", False),
        ("sessions", False),
    ],
)
def test_a_key_in_a_known_namespace_must_be_known(key: str, unknown: bool) -> None:
    assert is_unknown(key) is unknown
