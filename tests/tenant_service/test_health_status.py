"""When a status follows what probes find: verdicts, and the hysteresis between them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_service.health.verdicts import Check, Requests, Verdict, settle, verdict_of

VERDICTS = st.sampled_from(list(Verdict))
HEALTHY, DEGRADED, UNHEALTHY = Verdict


def statuses(found: list[Verdict]) -> list[Verdict]:
    """Return the status after each of the verdicts, the first of which stands for itself."""
    shown = [found[0]]
    for before, now in pairwise(found):
        shown.append(settle(shown[-1], before, now))
    return shown


@given(st.lists(VERDICTS, min_size=2))
def test_the_status_changes_only_after_two_verdicts_on_one_side_of_it(found: list[Verdict]) -> None:
    order = list(Verdict).index
    shown = statuses(found)
    for (status, after), (before, now) in zip(pairwise(shown), pairwise(found), strict=True):
        worse = order(before) > order(status) and order(now) > order(status)
        better = order(before) < order(status) and order(now) < order(status)
        assert (after != status) is (worse or better)
        if before == now:
            assert after == now


@given(VERDICTS, VERDICTS, VERDICTS)
def test_one_odd_probe_changes_nothing(status: Verdict, odd: Verdict, before: Verdict) -> None:
    assert settle(status, status, odd) == status
    assert settle(settle(status, status, odd), odd, status) == status


def test_bad_verdicts_that_alternate_still_show() -> None:
    assert statuses([HEALTHY, DEGRADED, UNHEALTHY, DEGRADED, UNHEALTHY]) == [
        HEALTHY,
        HEALTHY,
        *[DEGRADED] * 3,
    ]


@pytest.mark.parametrize(
    ("failed", "verdict"),
    [
        ([], HEALTHY),
        (["redis"], DEGRADED),
        (["api"], DEGRADED),
        (["redis", "api"], DEGRADED),
        (["database"], UNHEALTHY),
        (["storage"], UNHEALTHY),
        (["database", "redis", "storage", "api"], UNHEALTHY),
    ],
)
def test_the_worst_failure_makes_the_verdict(failed: list[str], verdict: Verdict) -> None:
    checks = {name: Check(name not in failed, 1.0) for name in ("database", "redis", "storage", "api")}
    assert verdict_of(checks) == verdict


@pytest.mark.parametrize(
    ("samples", "errors", "failing"),
    [(0, 0, False), (19, 19, False), (20, 0, False), (100, 4, False), (100, 5, True), (20, 1, True)],
)
def test_a_few_failures_among_few_requests_say_little(samples: int, errors: int, failing: bool) -> None:
    requests = Requests(samples, errors)
    assert requests.are_failing is failing
    assert requests.error_rate == (errors / samples if samples else None)
