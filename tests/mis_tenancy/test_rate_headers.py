"""The limiter's headers: what contract §4.2 promises, readable by a structured-field parser."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mis_tenancy.http.rate_headers import rate_limit_headers
from mis_tenancy.tenant import Allowance

PLENTY = Allowance(
    admitted=True,
    burst_limit=20,
    burst_remaining=20,
    burst_reset=0.05,
    daily_limit=1_000,
    daily_remaining=998,
    daily_reset=3_600,
)
ALLOWANCES = st.builds(
    Allowance,
    admitted=st.booleans(),
    burst_limit=st.integers(1, 10**6),
    burst_remaining=st.integers(0, 10**6),
    burst_reset=st.floats(0, 1),
    daily_limit=st.none() | st.integers(0, 10**9),
    daily_remaining=st.integers(0, 10**9),
    daily_reset=st.integers(1, 86_400),
    retry_after=st.floats(0, 86_400),
    mode=st.sampled_from(["shared", "local"]),
)
_ITEM = re.compile(r' *"([\x20\x21\x23-\x5b\x5d-\x7e]*)"((?:; *[a-z*][a-z0-9_.*-]*=-?\d{1,15})*) *')


def structured_list(text: str) -> dict[str, dict[str, int]]:
    """Parse a list of strings with integer parameters (RFC 9651 §4.2.1), all that these headers may hold."""
    members: dict[str, dict[str, int]] = {}
    position = 0
    while True:
        match = _ITEM.match(text, position)
        assert match is not None, text
        pairs = [pair.strip().split("=") for pair in match[2].split(";")[1:]]
        members[match[1]] = {name: int(value) for name, value in pairs}
        position = match.end()
        if position == len(text):
            return members
        assert text[position] == ",", text
        position += 1


def headers_of(allowance: Allowance) -> dict[str, str]:
    pairs = rate_limit_headers(allowance)
    headers = {name.decode(): value.decode() for name, value in pairs}
    assert len(headers) == len(pairs)
    return headers


def test_an_admitted_request_is_told_both_policies_and_the_scarcer_one() -> None:
    assert headers_of(PLENTY) == {
        "ratelimit-policy": '"burst";q=20;w=1, "daily";q=1000;w=86400',
        "ratelimit": '"daily";r=998;t=3600',
        "x-ratelimit-limit": "1000",
        "x-ratelimit-remaining": "998",
        "x-ratelimit-reset": "3600",
    }


def test_the_burst_policy_is_shown_where_less_of_it_is_left() -> None:
    headers = headers_of(replace(PLENTY, burst_remaining=3))
    assert headers["ratelimit"] == '"burst";r=3;t=1'
    assert headers["x-ratelimit-remaining"] == "998"


def test_without_a_daily_limit_the_headers_speak_of_burst() -> None:
    assert headers_of(replace(PLENTY, daily_limit=None, daily_remaining=None)) == {
        "ratelimit-policy": '"burst";q=20;w=1',
        "ratelimit": '"burst";r=20;t=1',
        "x-ratelimit-limit": "20",
        "x-ratelimit-remaining": "20",
        "x-ratelimit-reset": "1",
    }


def test_a_refusal_names_its_policy_and_when_to_come_back() -> None:
    by_burst = replace(PLENTY, admitted=False, burst_remaining=0, refused_by="burst", retry_after=0.02)
    assert headers_of(by_burst)["ratelimit"] == '"burst";r=0;t=1'
    assert headers_of(by_burst)["retry-after"] == "1"
    by_daily = replace(PLENTY, admitted=False, daily_remaining=0, refused_by="daily", retry_after=3_599.2)
    assert headers_of(by_daily)["ratelimit"] == '"daily";r=0;t=3600'
    assert headers_of(by_daily)["retry-after"] == "3600"


def test_an_exempt_request_refused_by_burst_is_told_of_burst_although_the_day_is_spent() -> None:
    refused = replace(PLENTY, admitted=False, burst_remaining=0, daily_remaining=0, refused_by="burst")
    assert headers_of(refused)["ratelimit"].startswith('"burst"')
    assert headers_of(refused)["retry-after"] == "1"


def test_only_a_local_decision_shows_its_mode() -> None:
    assert headers_of(replace(PLENTY, mode="local"))["x-ratelimit-mode"] == "local"


@given(allowance=ALLOWANCES, refused_by=st.sampled_from(["burst", "daily"]))
def test_every_header_parses_and_no_retry_is_too_early(allowance: Allowance, refused_by: str) -> None:
    """Catalogue 104."""
    daily = allowance.daily_limit is not None
    allowance = replace(
        allowance,
        daily_remaining=allowance.daily_remaining if daily else None,
        refused_by=None if allowance.admitted else refused_by if daily else "burst",
    )
    headers = headers_of(allowance)
    policies = structured_list(headers["ratelimit-policy"])
    assert list(policies) == ["burst", "daily"][: 1 + daily]
    assert all(set(policy) == {"q", "w"} for policy in policies.values())
    ((name, standing),) = structured_list(headers["ratelimit"]).items()
    assert name in policies
    assert set(standing) == {"r", "t"}
    assert ("retry-after" in headers) == (not allowance.admitted)
    if not allowance.admitted:
        assert name == allowance.refused_by
        assert int(headers["retry-after"]) >= max(1, standing["t"], allowance.retry_after)
