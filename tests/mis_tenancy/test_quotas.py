"""The limiter over a real Redis: exact while it answers, seeded after a loss, local while it is away."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mis_tenancy.identifiers import new_id
from mis_tenancy.quotas import DECISION, Limiter
from mis_tenancy.redis import Redis, tenant_key
from mis_tenancy.tenant import Allowance, Tenant
from tests.mis_tenancy.redis_fixtures import (
    PATIENT,
    RedisServer,
    UsageLedger,
    a_tenant,
    eventually,
    free_port,
    proxy_to,
    redis_server,
)

SECOND = 1_000_000
DAY = 86_400 * SECOND
NOON = 20_000 * DAY + DAY // 2
# The decision without its clock: the tests say what time it is.
GIVEN_CLOCK = "local now = tonumber(ARGV[8])\n"
UNSEEDED, ADMITTED, BURST, DAILY = range(4)
GENERATION = 7


class Clock:
    def __init__(self, now: float = NOON / SECOND):
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module", autouse=True)
def not_across_midnight() -> None:
    """Keep Redis' own day from ending in the middle of a test."""
    left = 86_400 - time.time() % 86_400
    if left < 60:
        time.sleep(left + 1)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that the test may break."""
    with redis_server() as server:
        yield server


@pytest.fixture
def ledger() -> UsageLedger:
    return UsageLedger()


@asynccontextmanager
async def limiting(
    url: str,
    ledger: UsageLedger,
    timeout: float = PATIENT,  # noqa: ASYNC109  # the client's
    processes: int = 1,
    **options: Any,
) -> AsyncIterator[tuple[Limiter, Redis]]:
    redis = Redis(url, timeout)
    await redis.start()
    try:
        yield Limiter(redis, ledger, processes, **options), redis
    finally:
        await redis.stop()


async def admitted(limiter: Limiter, tenant: Tenant, requests: int, *, exempt: bool = False) -> int:
    """Send that many requests at once and return how many pass."""
    answers = await asyncio.gather(*(limiter.admit(tenant, daily_exempt=exempt) for _ in range(requests)))
    return sum(answer.admitted for answer in answers)


async def all_ask_for_a_seed(redis: Redis, ledger: UsageLedger) -> None:
    """Wait until the first answers to all requests so far have come: Redis answers in order."""
    await eventually(lambda: bool(ledger.questions))
    for _ in range(2):
        await redis.command("PING")


class Decider:
    """Runs the script's decision at a given time."""

    def __init__(self, server: RedisServer):
        self.client = server.client()
        self.script = self.client.register_script(GIVEN_CLOCK + DECISION)

    def __call__(
        self,
        key: str,
        now: int,
        *,
        burst: int = 1_000,
        daily: int = -1,
        exempt: int = 0,
        generation: int = GENERATION,
        seed: tuple[int, int] = (0, -1),
        pipeline: Any = None,
    ) -> Any:
        arguments = [generation, burst, daily, exempt, 3_600, *seed, now]
        return self.script(keys=[key], args=arguments, client=pipeline)


@pytest.fixture(scope="module")
def decide(shared_server: RedisServer) -> Iterator[Decider]:
    decider = Decider(shared_server)
    yield decider
    decider.client.close()


def reference(
    burst: int, daily: int | None, seed: int, steps: list[tuple[int, bool]], start: int
) -> list[tuple[int, ...]]:
    """GCRA by its definition (virtual scheduling) in fractions, and a counter of the day."""
    interval, arrival = Fraction(SECOND, burst), Fraction(0)
    now, counts = start, {start // DAY: seed}
    answers: list[tuple[int, ...]] = []
    for pause, exempt in steps:
        now += pause
        today, due = now // DAY, max(arrival, Fraction(now))
        count = counts.get(today, 0)
        verdict, wait = ADMITTED, 0
        if daily is not None and count >= daily and not exempt:
            verdict, wait = DAILY, DAY - now % DAY
        elif due + interval - now > SECOND:
            verdict, wait = BURST, ceil(due + interval - SECOND - now)
        else:
            arrival, due, count = due + interval, due + interval, count + 1
        counts[today] = count
        left = int((SECOND - (due - now)) // interval)
        answers.append((verdict, today, left, ceil(due - now), wait, count, DAY - now % DAY))
    return answers


PAUSES = st.one_of(
    st.just(0),
    st.integers(0, 2_000),
    st.integers(0, 3 * SECOND),
    st.integers(0, DAY + SECOND),
)
SEQUENCES = st.tuples(
    st.integers(1, 12) | st.integers(1, 2_000),
    st.none() | st.integers(0, 15),
    st.integers(0, 5),
    st.lists(st.tuples(PAUSES, st.booleans()), min_size=1, max_size=30),
    st.integers(NOON - DAY, NOON + DAY),
)
Sequence = tuple[int, int | None, int, list[tuple[int, bool]], int]


def agrees_with_the_reference(decide: Decider, sequence: Sequence) -> None:
    burst, daily, seed, steps, start = sequence
    key, now = tenant_key(new_id(), "quota"), start
    pipeline = decide.client.pipeline(transaction=False)
    for number, (pause, exempt) in enumerate(steps):
        now += pause
        seeded = (now // DAY, seed if now // DAY == start // DAY else 0) if number == 0 else (0, -1)
        limit = -1 if daily is None else daily
        decide(key, now, burst=burst, daily=limit, exempt=int(exempt), seed=seeded, pipeline=pipeline)
    pipeline.delete(key)
    assert [tuple(answer) for answer in pipeline.execute()[:-1]] == reference(*sequence)


@settings(max_examples=1_000, deadline=None)
@given(sequence=SEQUENCES)
def test_every_decision_is_the_one_of_the_reference_model(decide: Decider, sequence: Sequence) -> None:
    """Catalogue 100."""
    agrees_with_the_reference(decide, sequence)


@pytest.mark.deep
@settings(max_examples=10_000, deadline=None)
@given(sequence=SEQUENCES)
def test_ten_thousand_sequences_agree_with_the_reference_model(decide: Decider, sequence: Sequence) -> None:
    """Catalogue 100."""
    agrees_with_the_reference(decide, sequence)


@pytest.mark.parametrize("burst", [1, 3, 7, 20, 500, 1_999])
def test_from_idle_exactly_the_limit_passes_at_once_and_then_one_each_interval(
    decide: Decider, burst: int
) -> None:
    key = tenant_key(new_id(), "quota")
    at_once = [decide(key, NOON, burst=burst)[0] for _ in range(burst + 2)]
    assert at_once == [ADMITTED] * burst + [BURST] * 2
    interval = ceil(Fraction(SECOND, burst))
    assert decide(key, NOON + interval - 1, burst=burst)[0] == BURST
    assert decide(key, NOON + interval, burst=burst)[0] == ADMITTED
    assert decide(key, NOON + 3 * SECOND, burst=burst)[2] == burst - 1


def test_a_limit_of_zero_admits_nothing(decide: Decider) -> None:
    assert decide("zero:burst", NOON, burst=0)[2:5] == [0, 0, SECOND]
    assert decide("zero:daily", NOON, daily=0, seed=(20_000, 0))[0] == DAILY


def test_a_refused_request_uses_up_neither_policy(decide: Decider) -> None:
    key = tenant_key(new_id(), "quota")
    assert decide(key, NOON, burst=1, daily=2, seed=(20_000, 0))[5] == 1
    for _ in range(5):
        assert decide(key, NOON, burst=1, daily=2)[::5] == [BURST, 1]
    assert decide(key, NOON + SECOND, burst=1, daily=2)[::5] == [ADMITTED, 2]
    for pause in range(2 * SECOND, 5 * SECOND, SECOND):
        verdict, _, burst_left, _, _, counted, _ = decide(key, NOON + pause, burst=1, daily=2)
        assert (verdict, burst_left, counted) == (DAILY, 1, 2)


def test_an_exempt_request_passes_a_spent_day_under_burst_and_counts(decide: Decider) -> None:
    key = tenant_key(new_id(), "quota")
    decide(key, NOON, burst=2, daily=1, seed=(20_000, 0))
    assert decide(key, NOON, burst=2, daily=1)[0] == DAILY
    assert decide(key, NOON, burst=2, daily=1, exempt=1)[::5] == [ADMITTED, 2]
    assert decide(key, NOON, burst=2, daily=1, exempt=1)[::5] == [BURST, 2]


def test_a_day_that_ends_on_surviving_data_needs_no_ledger(decide: Decider) -> None:
    """Catalogue 103."""
    key, midnight = tenant_key(new_id(), "quota"), 20_001 * DAY
    assert decide(key, midnight - 1, daily=1, seed=(20_000, 0))[0] == ADMITTED
    assert decide(key, midnight - 1, daily=1)[::4] == [DAILY, 1]
    assert decide(key, midnight, daily=1)[:6:5] == [ADMITTED, 1]
    assert decide(key, midnight, daily=1)[0] == DAILY


def test_a_key_that_is_gone_admits_nothing_before_it_is_seeded(decide: Decider) -> None:
    key = tenant_key(new_id(), "quota")
    assert decide(key, NOON, daily=10) == [UNSEEDED, 20_000]
    assert decide(key, NOON, daily=10, seed=(19_999, 3)) == [UNSEEDED, 20_000]
    assert decide(key, NOON, daily=10, seed=(20_000, 9))[::5] == [ADMITTED, 10]
    # A second seeder comes too late: seeds do not add up.
    assert decide(key, NOON, daily=10, seed=(20_000, 9))[::5] == [DAILY, 10]
    assert decide(key, NOON, daily=100, seed=(20_000, 5))[::5] == [ADMITTED, 11]


def test_a_spent_seed_is_kept_although_the_request_is_refused(decide: Decider) -> None:
    key = tenant_key(new_id(), "quota")
    assert decide(key, NOON, daily=10, seed=(20_000, 12))[0] == DAILY
    assert decide(key, NOON, daily=10)[::5] == [DAILY, 12]


def test_another_run_of_the_server_seeds_with_whichever_knows_more(decide: Decider) -> None:
    for seed, counted in ((1, 4), (8, 9)):
        key = tenant_key(new_id(), "quota")
        decide(key, NOON, daily=100, seed=(20_000, 2))
        assert decide(key, NOON, daily=100, generation=8) == [UNSEEDED, 20_000]
        assert decide(key, NOON, daily=100, generation=8, seed=(20_000, seed))[5] == counted
    # Yesterday's data in another run may have lost all of today.
    assert decide(key, NOON + DAY, daily=100, generation=9) == [UNSEEDED, 20_001]
    assert decide(key, NOON + DAY, daily=100, generation=9, seed=(20_001, 5))[5] == 6


def test_a_clock_that_is_set_back_locks_nobody_out(decide: Decider) -> None:
    key = tenant_key(new_id(), "quota")
    decide(key, NOON + 10 * DAY, burst=1, daily=1, seed=(20_010, 0))
    assert decide(key, NOON, burst=1, daily=1) == [UNSEEDED, 20_000]
    refused = decide(key, NOON, burst=1, daily=1, seed=(20_000, 0))
    assert refused[0] == BURST
    assert refused[4] <= SECOND
    assert decide(key, NOON + SECOND, burst=1, daily=1)[0] == ADMITTED


def test_a_changed_burst_limit_holds_at_once(decide: Decider) -> None:
    key = tenant_key(new_id(), "quota")
    for _ in range(20):
        decide(key, NOON, burst=20)
    assert decide(key, NOON, burst=30)[0:3:2] == [ADMITTED, 9]
    assert decide(key, NOON, burst=5)[0] == BURST
    assert decide(key, NOON + SECOND, burst=5)[0] == ADMITTED


def test_an_unlimited_tenant_that_gets_a_limit_is_seeded_first(decide: Decider) -> None:
    key = tenant_key(new_id(), "quota")
    for _ in range(3):
        assert decide(key, NOON)[0] == ADMITTED
    assert decide(key, NOON, daily=5) == [UNSEEDED, 20_000]
    assert decide(key, NOON, daily=5, seed=(20_000, 2))[5] == 4


def test_a_tenant_s_state_is_one_small_string(decide: Decider) -> None:
    key = tenant_key(new_id(), "quota")
    decide(key, NOON, burst=10**6, daily=10**9, seed=(20_000, 10**9 - 1))
    assert decide.client.strlen(key) == 26
    assert decide.client.object("encoding", key) == b"embstr"
    assert 0 < decide.client.ttl(key) <= 3_600


WORKER = """
import asyncio, json, sys
from mis_tenancy.quotas import Limiter
from mis_tenancy.redis import Redis
from tests.mis_tenancy.redis_fixtures import a_tenant
from dataclasses import replace
from uuid import UUID

async def ledger(tenant_id, day):
    await asyncio.sleep(0.01)
    return 0

async def main(url, tenant_id, burst, daily):
    redis = Redis(url, 30.0)
    await redis.start()
    limiter = Limiter(redis, ledger, 4)
    tenant = replace(a_tenant(burst, daily), id=UUID(tenant_id))
    print("ready", flush=True)
    sys.stdin.readline()
    answers = await asyncio.gather(*(limiter.admit(tenant, daily_exempt=False) for _ in range(250)))
    await redis.stop()
    print(json.dumps([sum(a.admitted for a in answers), limiter.local_decisions]))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])))
"""


async def test_of_a_thousand_requests_over_four_processes_exactly_the_limit_passes(
    shared_server: RedisServer,
) -> None:
    """Catalogue 101."""
    arguments = [shared_server.url, str(new_id()), "1000", "100"]
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", WORKER, *arguments),
            cwd=Path(__file__).parents[2],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert await worker.stdout.readline() == b"ready\n"
    outputs = await asyncio.gather(*(worker.communicate(b"\n") for worker in workers))
    counts = [json.loads(output) for output, _ in outputs]
    assert sum(passed for passed, _ in counts) == 100
    assert [local for _, local in counts] == [0, 0, 0, 0]


async def test_with_n_left_n_parallel_requests_pass_and_no_more(
    shared_server: RedisServer, ledger: UsageLedger
) -> None:
    ledger.counted = 93
    async with limiting(shared_server.url, ledger) as (limiter, _):
        tenant = a_tenant(daily=100)
        assert await admitted(limiter, tenant, 50) == 7
        assert limiter.local_decisions == 0


async def test_an_allowance_tells_both_policies(shared_server: RedisServer, ledger: UsageLedger) -> None:
    async with limiting(shared_server.url, ledger) as (limiter, _):
        tenant = a_tenant(burst=20, daily=2)
        allowance = await limiter.admit(tenant, daily_exempt=False)
        assert (allowance.burst_limit, allowance.burst_remaining) == (20, 19)
        assert (allowance.daily_limit, allowance.daily_remaining, allowance.mode) == (2, 1, "shared")
        assert 0 < allowance.burst_reset <= 0.05
        assert 0 < allowance.daily_reset <= 86_400
        await limiter.admit(tenant, daily_exempt=False)
        refused = await limiter.admit(tenant, daily_exempt=False)
        assert (refused.admitted, refused.refused_by, refused.daily_remaining) == (False, "daily", 0)
        assert 0 < refused.retry_after <= refused.daily_reset
        exempt = await limiter.admit(tenant, daily_exempt=True)
        assert (exempt.admitted, exempt.daily_remaining) == (True, 0)


async def test_without_a_daily_limit_only_burst_counts_and_the_ledger_is_not_asked(
    shared_server: RedisServer, ledger: UsageLedger
) -> None:
    async with limiting(shared_server.url, ledger) as (limiter, _):
        allowance = await limiter.admit(a_tenant(burst=2, daily=None), daily_exempt=False)
        assert (allowance.admitted, allowance.daily_limit, allowance.daily_remaining) == (True, None, None)
        assert ledger.questions == []


async def test_a_wrong_clock_of_this_host_changes_no_decision(
    shared_server: RedisServer, ledger: UsageLedger
) -> None:
    """Catalogue 102."""
    real = datetime.now(UTC).timestamp()
    tenant, passed = a_tenant(daily=10), 0
    for skew in (-600, 0, 600, 86_400):
        async with limiting(shared_server.url, ledger, clock=Clock(real + skew)) as (limiter, _):
            passed += await admitted(limiter, tenant, 5)
    assert passed == 10
    assert len(ledger.questions) == 1


async def test_parallel_requests_of_a_process_ask_the_ledger_once_for_redis_day(
    shared_server: RedisServer, ledger: UsageLedger
) -> None:
    tenant = a_tenant(daily=100)
    before = datetime.now(UTC).date()
    ledger.open.clear()
    async with limiting(shared_server.url, ledger, clock=Clock(0)) as (limiter, redis):
        requests = asyncio.create_task(admitted(limiter, tenant, 150))
        await all_ask_for_a_seed(redis, ledger)
        ledger.open.set()
        assert await requests == 100
    assert len(ledger.questions) == 1
    assert ledger.questions[0][0] == tenant.id
    assert before <= ledger.questions[0][1] <= datetime.now(UTC).date()


async def test_parallel_seeders_of_many_processes_do_not_add_up(
    shared_server: RedisServer, ledger: UsageLedger
) -> None:
    ledger.counted = 60
    clients = [Redis(shared_server.url, PATIENT) for _ in range(8)]
    await asyncio.gather(*(client.start() for client in clients))
    limiters, tenant = [Limiter(client, ledger, 8) for client in clients], a_tenant(daily=100)
    passed = await asyncio.gather(*(admitted(limiter, tenant, 20) for limiter in limiters))
    await asyncio.gather(*(client.stop() for client in clients))
    assert sum(passed) == 40


async def test_a_caller_who_gives_up_does_not_cancel_the_seed_of_the_others(
    shared_server: RedisServer, ledger: UsageLedger
) -> None:
    ledger.open.clear()
    async with limiting(shared_server.url, ledger) as (limiter, redis):
        tenant = a_tenant(daily=100)
        requests = [asyncio.create_task(limiter.admit(tenant, daily_exempt=False)) for _ in range(10)]
        await all_ask_for_a_seed(redis, ledger)
        requests[0].cancel()
        await asyncio.sleep(0)
        ledger.open.set()
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert all(isinstance(answer, Allowance) and answer.mode == "shared" for answer in answers[1:])


async def test_a_redis_that_lost_everything_is_seeded_before_it_admits(
    server: RedisServer, ledger: UsageLedger
) -> None:
    async with limiting(server.url, ledger) as (limiter, _):
        tenant = a_tenant(daily=100)
        assert await admitted(limiter, tenant, 80) == 80
        server.ask("FLUSHALL")
        # The ledger is behind; what Redis told this process is not.
        ledger.counted = 70
        assert await admitted(limiter, tenant, 80) == 20
        assert limiter.local_decisions == 0


async def test_a_restarted_redis_with_old_data_is_seeded_before_it_admits(ledger: UsageLedger) -> None:
    tenant = a_tenant(daily=100)
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:
        async with limiting(server.url, ledger) as (limiter, redis):
            assert await admitted(limiter, tenant, 30) == 30
            server.kill()
            await eventually(lambda: not redis.available)
            server.start()
            await eventually(lambda: redis.available)
        # Another process counted 50 more, of which this Redis knows nothing any longer.
        ledger.counted = 80
        async with limiting(server.url, ledger) as (limiter, _):
            assert await admitted(limiter, tenant, 100) == 20
            assert limiter.local_decisions == 0


@pytest.mark.parametrize("failure", [RuntimeError("no ledger"), TimeoutError(), OSError()])
async def test_a_ledger_that_fails_leaves_the_decision_to_this_process(
    shared_server: RedisServer, ledger: UsageLedger, failure: Exception
) -> None:
    ledger.failure = failure
    async with limiting(shared_server.url, ledger, processes=4) as (limiter, _):
        tenant = a_tenant(daily=10)
        assert await admitted(limiter, tenant, 20) == 3
        assert limiter.local_decisions == 20
        ledger.failure = None
        assert (await limiter.admit(tenant, daily_exempt=False)).mode == "shared"


async def test_addresses_have_a_window_of_their_own_and_touch_no_tenant(
    server: RedisServer, ledger: UsageLedger
) -> None:
    async with limiting(server.url, ledger) as (limiter, _):
        answers = await asyncio.gather(*(limiter.admit_address("2001:db8::/64", 3) for _ in range(5)))
        assert [answer.refused_by for answer in answers] == [None, None, None, "burst", "burst"]
        assert (await limiter.admit_address("192.0.2.1", 3)).admitted
        assert answers[0].daily_limit is None
        assert ledger.questions == []
        with server.client() as client:
            assert set(client.keys()) <= {b"{a:2001:db8::/64}:burst", b"{a:192.0.2.1}:burst"}
            assert client.ttl("{a:192.0.2.1}:burst") <= 2


async def test_a_replica_replays_what_the_primary_decided(server: RedisServer, ledger: UsageLedger) -> None:
    with redis_server("--replicaof", "127.0.0.1", str(server.port)) as replica:
        await eventually(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up")
        async with limiting(server.url, ledger) as (limiter, _):
            tenant = a_tenant(daily=10)
            assert await admitted(limiter, tenant, 10) == 10
        key = tenant_key(tenant.id, "quota")
        await eventually(lambda: replica.ask("GET", key) == server.ask("GET", key))


async def stops_writing(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "maxmemory", "1")


async def becomes_a_replica(server: RedisServer) -> None:
    server.ask("REPLICAOF", "127.0.0.1", free_port())


async def is_killed(server: RedisServer) -> None:
    server.kill()


async def hangs(server: RedisServer) -> None:
    server.hang()


async def recovers(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "maxmemory", "0")
    server.ask("REPLICAOF", "NO", "ONE")


async def starts_again(server: RedisServer) -> None:
    server.start()


async def goes_on(server: RedisServer) -> None:
    server.resume()


@pytest.mark.parametrize(
    ("fault", "cure"),
    [(stops_writing, recovers), (becomes_a_replica, recovers), (is_killed, starts_again), (hangs, goes_on)],
)
async def test_while_redis_fails_this_process_decides_and_then_redis_again(
    server: RedisServer, ledger: UsageLedger, fault: Any, cure: Any
) -> None:
    """Catalogue 106."""
    tenant, other = a_tenant(daily=100), a_tenant(daily=100)
    async with limiting(server.url, ledger, timeout=0.5, processes=4) as (limiter, redis):
        assert await admitted(limiter, tenant, 20) == 20
        await fault(server)
        answers = await asyncio.gather(*(limiter.admit(tenant, daily_exempt=False) for _ in range(50)))
        assert {answer.mode for answer in answers} == {"local"}
        # Of the 80 that were left when Redis last answered, this is one of four processes.
        assert sum(answer.admitted for answer in answers) == 20
        assert await admitted(limiter, other, 50) == 25
        assert limiter.local_decisions == 100
        await cure(server)
        await eventually(lambda: redis.available)
        assert (await limiter.admit(tenant, daily_exempt=False)).mode == "shared"
        assert limiter.local_decisions == 100


async def test_a_redis_that_kept_its_count_hears_what_was_admitted_without_it(
    server: RedisServer, ledger: UsageLedger
) -> None:
    tenant, other = a_tenant(daily=100), a_tenant(daily=100)
    async with limiting(server.url, ledger, timeout=0.5) as (limiter, redis):
        assert await admitted(limiter, tenant, 20) == 20
        assert await admitted(limiter, other, 10) == 10
        await stops_writing(server)
        assert await admitted(limiter, tenant, 30) == 30
        await recovers(server)
        await eventually(lambda: redis.available)
        # The ledger has the 20, the 30, and 7 that another process admitted alone.
        ledger.counted = 57
        ledger.questions.clear()
        assert await admitted(limiter, tenant, 100) == 43
        # Once is enough, and who was not served meanwhile is not asked about.
        assert await admitted(limiter, other, 100) == 90
        assert await admitted(limiter, tenant, 5) == 0
        assert [asked for asked, _ in ledger.questions] == [tenant.id]


async def test_a_settlement_that_the_ledger_does_not_give_is_made_up_for_later(
    server: RedisServer, ledger: UsageLedger
) -> None:
    tenant = a_tenant(daily=100)
    async with limiting(server.url, ledger, timeout=0.5) as (limiter, redis):
        assert await admitted(limiter, tenant, 20) == 20
        await stops_writing(server)
        assert await admitted(limiter, tenant, 30) == 30
        await recovers(server)
        await eventually(lambda: redis.available)
        ledger.failure = OSError()
        answer = await limiter.admit(tenant, daily_exempt=False)
        assert (answer.mode, answer.daily_remaining) == ("shared", 79)
        ledger.failure, ledger.counted = None, 51
        assert (await limiter.admit(tenant, daily_exempt=False)).daily_remaining == 48


def test_a_seed_only_ever_adds_to_a_count_that_is_known(decide: Decider) -> None:
    key = tenant_key(new_id(), "quota")
    today = NOON // DAY
    assert decide(key, NOON, daily=100, seed=(today, 10))[5] == 11
    assert decide(key, NOON, daily=100, seed=(today, 5))[5] == 12
    assert decide(key, NOON, daily=100, seed=(today, 40))[5] == 41
    assert decide(key, NOON, daily=100, seed=(today - 1, 90))[5] == 42


async def test_a_slow_redis_is_waited_for_once(shared_server: RedisServer, ledger: UsageLedger) -> None:
    """Catalogue 106."""
    late = [0.0]
    async with (
        proxy_to(shared_server.port, lambda: late[0]) as port,
        limiting(f"redis://127.0.0.1:{port}", ledger, timeout=0.5) as (limiter, redis),
    ):
        tenant = a_tenant(daily=100)
        assert (await limiter.admit(tenant, daily_exempt=False)).mode == "shared"
        late[0] = 0.9
        assert (await limiter.admit(tenant, daily_exempt=False)).mode == "local"
        assert not redis.available
        late[0] = 0.0
        await eventually(lambda: redis.available)
        assert (await limiter.admit(tenant, daily_exempt=False)).mode == "shared"


async def test_a_flushed_script_costs_no_decision(shared_server: RedisServer, ledger: UsageLedger) -> None:
    """Catalogue 106."""
    async with limiting(shared_server.url, ledger) as (limiter, _):
        tenant = a_tenant(daily=100)
        assert await admitted(limiter, tenant, 40) == 40
        shared_server.ask("SCRIPT", "FLUSH")
        assert await admitted(limiter, tenant, 100) == 60
        assert limiter.local_decisions == 0


async def test_cancelled_requests_leave_every_tenant_its_own_count(
    shared_server: RedisServer, ledger: UsageLedger
) -> None:
    """Catalogue 107."""
    tenants = [a_tenant(burst=100_000, daily=1_000 + n) for n in range(50)]
    async with limiting(shared_server.url, ledger) as (limiter, _):
        for _ in range(20):
            tasks = [
                asyncio.create_task(limiter.admit(tenant, daily_exempt=False))
                for tenant in tenants
                for _ in range(5)
            ]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for number, answer in enumerate(answers):
                if isinstance(answer, Allowance):
                    assert answer.daily_limit == tenants[number // 5].daily_limit
        for tenant in tenants:
            answer = await limiter.admit(tenant, daily_exempt=False)
            counted = (answer.daily_limit or 0) - (answer.daily_remaining or 0)
            # Each of the cancelled ones may have been counted, none twice, and none for a neighbour.
            assert 40 <= counted <= 101


@given(processes=st.integers(1, 9), daily=st.integers(0, 40), told=st.integers(0, 45))
@settings(max_examples=100, deadline=None)
async def test_all_processes_alone_admit_at_most_their_parts(processes: int, daily: int, told: int) -> None:
    limiter, tenant = Limiter(None, UsageLedger(), processes, Clock()), a_tenant(daily=daily)
    limiter._local.learn(tenant.id, NOON // DAY, told)
    assert await admitted(limiter, tenant, 60) == ceil(max(0, daily - told) / processes)


async def test_the_local_burst_is_this_process_s_part_of_each_second() -> None:
    clock = Clock()
    limiter, tenant = Limiter(None, UsageLedger(), 4, clock), a_tenant(burst=20, daily=None)
    assert await admitted(limiter, tenant, 30) == 5
    refused = await limiter.admit(tenant, daily_exempt=False)
    assert (refused.refused_by, refused.burst_limit, refused.burst_remaining) == ("burst", 20, 0)
    assert refused.retry_after == pytest.approx(0.2)
    clock.now += 0.2
    assert await admitted(limiter, tenant, 30) == 1
    clock.now += 60
    assert await admitted(limiter, tenant, 30) == 5
    assert [(await limiter.admit_address("::1", 8)).admitted for _ in range(3)] == [True, True, False]
    assert (await limiter.admit_address("::1", 8)).refused_by == "burst"


async def test_the_local_day_ends_at_midnight_and_exempt_requests_pass_it() -> None:
    clock = Clock()
    limiter, tenant = Limiter(None, UsageLedger(), 1, clock), a_tenant(daily=3)
    assert await admitted(limiter, tenant, 5) == 3
    refused = await limiter.admit(tenant, daily_exempt=False)
    assert (refused.refused_by, refused.daily_reset, refused.retry_after) == ("daily", 43_200, 43_200)
    assert await admitted(limiter, tenant, 2, exempt=True) == 2
    clock.now += 43_200
    assert await admitted(limiter, tenant, 5) == 3


async def test_a_redis_that_comes_and_goes_does_not_renew_the_local_part(
    server: RedisServer, ledger: UsageLedger
) -> None:
    tenant = a_tenant(daily=100)
    async with limiting(server.url, ledger, processes=2) as (limiter, redis):
        local = 0
        for _ in range(3):
            assert (await limiter.admit(tenant, daily_exempt=False)).mode == "shared"
            server.kill()
            await eventually(lambda: not redis.available)
            local += await admitted(limiter, tenant, 100)
            server.start()
            await eventually(lambda: redis.available)
    assert local == 50


async def test_the_local_tables_are_bounded() -> None:
    limiter = Limiter(None, UsageLedger(), 1, Clock())
    limiter._local._addresses._size = 100
    limiter._local._tenants._size = 100
    tenant = a_tenant(daily=1_000)
    for n in range(300):
        await limiter.admit_address(f"2001:db8:{n:x}::/64", 20)
        await limiter.admit(replace(tenant, id=new_id()), daily_exempt=False)
    assert len(limiter._local) == 200
