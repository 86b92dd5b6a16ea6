"""Whether time tells what the answer hides: interleaved tries, compared by rank and by median.

These are deep tests, because a busy machine's clock is no verdict; that each kind of wrong does the same work
is held by `test_login.py`.
"""

import logging
import math
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest
from sqlalchemy import text

from tests.auth_service.requests import AUTH, authority_of
from tests.suite import PASSWORD, Suite

pytestmark = pytest.mark.deep

_log = logging.getLogger(__name__)

TRIES = 1_000
WRONG = "Wrong-Horse-7-Battery"

Try = Callable[[], Awaitable[None]]


def p_of_equal(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the two-sided p of Mann and Whitney's U, by its normal approximation."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks = sum(rank for rank, (_, group) in enumerate(ranked, 1) if group == 0)
    n, m = len(one), len(other)
    u = ranks - n * (n + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(z) / math.sqrt(2))


def test_the_comparison_tells_a_difference_from_none() -> None:
    rng = random.Random(79)
    noise = [rng.gauss(60, 8) for _ in range(TRIES)]
    same = [rng.gauss(60, 8) for _ in range(TRIES)]
    slower = [value + 2 for value in same]
    assert p_of_equal(noise, same) > 0.01 > p_of_equal(noise, slower)


async def interleaved(suite: Suite, kinds: Mapping[str, Try]) -> dict[str, list[float]]:
    """Return the milliseconds of each kind's tries, in shuffled rounds; no counter holds a round back."""
    rng = random.Random(80)
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(TRIES):
        async with authority_of(suite).transaction(None) as session:
            await session.execute(text("delete from login_throttles"))
        for kind in rng.sample(sorted(kinds), len(kinds)):
            began = time.perf_counter()
            await kinds[kind]()
            took[kind].append((time.perf_counter() - began) * 1e3)
    return took


def hold_equal(took: Mapping[str, Sequence[float]], against: str) -> None:
    """Require that no kind's median is apart from that of `against` by 5 % and by 2 ms."""
    base = statistics.median(took[against])
    for kind, times in took.items():
        median, p = statistics.median(times), p_of_equal(times, took[against])
        _log.info("%s: median %.2f ms, %+.2f ms to %s, p = %.3f", kind, median, median - base, against, p)
    for times in took.values():
        apart = abs(statistics.median(times) - base)
        assert apart < 0.05 * base or apart < 2.0


async def test_no_kind_of_wrong_is_told_by_its_time(suite: Suite) -> None:
    """Catalogue 79."""
    tenant, disabled = await suite.tenant("custom"), await suite.tenant("custom")
    user = await suite.user(disabled)
    path = f"/api/v1/users/{user.id}"
    await suite.client.patch(path, json={"status": "disabled"}, headers=disabled.auth)
    wrong = {
        "wrong password": (tenant.slug, tenant.owner_email, WRONG),
        "unknown address": (tenant.slug, "nobody@nowhere.example", PASSWORD),
        "unknown tenant": ("no-such-tenant", tenant.owner_email, PASSWORD),
        "disabled account": (disabled.slug, user.email, PASSWORD),
    }

    def attempt(slug: str, email: str, password: str) -> Try:
        async def one() -> None:
            body = {"tenantSlug": slug, "email": email, "password": password}
            answer = await suite.post_anonymously(f"{AUTH}/login", body)
            assert answer.status_code == 401, answer.text

        return one

    took = await interleaved(suite, {kind: attempt(*sent) for kind, sent in wrong.items()})
    hold_equal(took, "wrong password")


async def test_no_address_is_told_by_the_time_of_a_forgotten_password(suite: Suite) -> None:
    """Catalogue 80."""
    tenant = await suite.tenant("custom")

    def ask(slug: str, email: str) -> Try:
        async def one() -> None:
            answer = await suite.post_anonymously(
                f"{AUTH}/password/forgot", {"email": email, "tenantSlug": slug}
            )
            assert answer.status_code == 202, answer.text

        return one

    took = await interleaved(
        suite,
        {
            "known": ask(tenant.slug, tenant.owner_email),
            "unknown": ask(tenant.slug, "nobody@nowhere.example"),
        },
    )
    hold_equal(took, "known")
