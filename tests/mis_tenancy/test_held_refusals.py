"""What is refused without asking Redis again: only what Redis would refuse, and only for as long."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mis_tenancy.held_refusals import LONGEST, HeldRefusals
from mis_tenancy.quotas import Limiter, _allowance
from tests.mis_tenancy.redis_fixtures import RedisServer, UsageLedger, a_tenant, eventually, redis_server
from tests.mis_tenancy.test_quotas import (
    ADMITTED,
    SECOND,
    SEQUENCES,
    Clock,
    Sequence,
    admitted,
    limiting,
    reference,
)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def counting(limiter: Limiter) -> list[Any]:
    """Return the list to which each question to Redis is added."""
    asked: list[Any] = []
    run = limiter._run

    async def counted(key: str, *arguments: int) -> list[int]:
        asked.append(key)
        return await run(key, *arguments)

    limiter._run = counted  # type: ignore[method-assign]  # it only counts
    return asked


@settings(max_examples=500, deadline=None)
@given(sequence=SEQUENCES, processes=st.lists(st.integers(0, 2), min_size=30, max_size=30))
def test_no_process_refuses_what_the_reference_model_lets_pass(
    sequence: Sequence, processes: list[int]
) -> None:
    """Catalogue 100, 105."""
    burst, daily, _, steps, start = sequence
    clock = Clock(start / SECOND)
    held = [HeldRefusals(clock) for _ in range(3)]
    answers = reference(*sequence)
    now = start
    for (pause, exempt), process, answer in zip(steps, processes, answers, strict=False):
        now += pause
        clock.now = now / SECOND
        again = held[process].again(exempt, burst)
        if again is None:
            held[process].note(exempt, burst, clock.now, _allowance(list(answer), burst, daily))
        else:
            assert answer[0] != ADMITTED
            assert again.refused_by == _allowance(list(answer), burst, daily).refused_by


async def test_a_flood_asks_redis_once_until_something_may_pass(server: RedisServer) -> None:
    """Catalogue 105."""
    async with limiting(server.url, UsageLedger()) as (limiter, _):
        tenant, clock = a_tenant(burst=1, daily=1_000), Clock()
        limiter._held.clock = clock
        assert (await limiter.admit(tenant, daily_exempt=False)).admitted
        asked = counting(limiter)
        refusals = [await limiter.admit(tenant, daily_exempt=False) for _ in range(50)]
        assert len(asked) == 1
        assert {(one.refused_by, one.burst_remaining, one.daily_remaining) for one in refusals} == {
            ("burst", 0, 999)
        }
        clock.now += refusals[0].retry_after
        await limiter.admit(tenant, daily_exempt=False)
        assert len(asked) == 2


async def test_a_spent_day_is_asked_about_each_second_and_keeps_nobody_exempt_out(
    server: RedisServer,
) -> None:
    async with limiting(server.url, UsageLedger()) as (limiter, _):
        tenant, clock = a_tenant(daily=2), Clock()
        limiter._held.clock = clock
        assert await admitted(limiter, tenant, 3) == 2
        asked = counting(limiter)
        assert await admitted(limiter, tenant, 20) == 0
        assert asked == []
        assert (await limiter.admit(tenant, daily_exempt=True)).admitted
        clock.now += LONGEST
        asked.clear()
        assert await admitted(limiter, tenant, 1) == 0
        assert len(asked) == 1


async def test_a_changed_limit_holds_at_once(server: RedisServer) -> None:
    async with limiting(server.url, UsageLedger()) as (limiter, _):
        tenant = a_tenant(burst=1, daily=3)
        assert await admitted(limiter, tenant, 2) == 1
        assert await admitted(limiter, replace(a_tenant(burst=100, daily=3), id=tenant.id), 5) == 2
        assert await admitted(limiter, replace(a_tenant(burst=100, daily=5), id=tenant.id), 5) == 2


async def test_another_run_of_redis_is_asked_at_once(server: RedisServer) -> None:
    async with limiting(server.url, UsageLedger()) as (limiter, redis):
        tenant = a_tenant(daily=1)
        limiter._held.clock = Clock()
        assert await admitted(limiter, tenant, 2) == 1
        server.kill()
        await eventually(lambda: not redis.available)
        answer = await limiter.admit(tenant, daily_exempt=False)
        assert (answer.mode, answer.admitted) == ("local", False)
        server.start()
        await eventually(lambda: redis.available)
        asked = counting(limiter)
        assert (await limiter.admit(tenant, daily_exempt=False)).mode == "shared"
        assert asked != []


async def test_an_address_is_refused_again_without_a_question(server: RedisServer) -> None:
    async with limiting(server.url, UsageLedger()) as (limiter, _):
        limiter._held.clock = Clock()
        assert [(await limiter.admit_address("192.0.2.1", 1)).admitted for _ in range(2)] == [True, False]
        asked = counting(limiter)
        assert not (await limiter.admit_address("192.0.2.1", 1)).admitted
        assert (await limiter.admit_address("192.0.2.2", 1)).admitted
        assert len(asked) == 1


def test_what_is_remembered_is_bounded() -> None:
    held = HeldRefusals(Clock(), size=10)
    refused = _allowance([2, 0, 0, SECOND, SECOND, 0, SECOND], 1, None)
    for number in range(35):
        held.note(number, 1, held.clock(), refused)
        assert held.again(number, 1) is refused
        assert len(held) <= 10
