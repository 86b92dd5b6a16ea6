"""Run with `python -m benchmarks neighbours`: what a quiet tenant notices of one at fifty times its limit.

Both ask one server for their users: the quiet one at a steady pace, the noisy one fifty times as often as its
limit allows, so that nearly all it sends is refused. Halves with and without the noise take turns, and their
order too. The noise is made by a process of its own, so that the quiet one's answers are not waited for
longer because the noise's are being read.

A round's own p99 stands on a handful of requests. So percentiles are those of all rounds together, and the
interval behind a ratio is what nine of ten draws of as many rounds come to. What a refusal costs is what the
server's processor did more in the noisy half, by the number of requests of the noise: the record of it and
its way into the audit log included.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final

from benchmarks.candidates import STATEMENT_DOOR
from benchmarks.ground import ground
from benchmarks.load import Call, Measurement, pace
from benchmarks.report import quartiles
from benchmarks.serving import served
from benchmarks.world import World, world

_TIMES_THE_LIMIT: Final = 50
_CONNECTIONS: Final = 16
_DRAWS: Final = 2_000
_NOISY: Final = """
insert into tenant_configurations
       (tenant_id, id, config_key, config_value, is_encrypted, version, created_at, updated_at)
select id, gen_random_uuid(), 'api.burst_limit', '{limit}', false, 1, now(), now()
  from tenants where slug = 'tenant-1';
"""


@dataclass(frozen=True, slots=True)
class Noise:
    """What was sent beside the quiet tenant, and how much of that was refused."""

    requests: int
    refused: int


@dataclass(frozen=True, slots=True)
class Half:
    """What the quiet tenant met, what the server's processor did in `seconds`, and the noise, if any."""

    quiet: Measurement
    seconds: float
    cpu: float
    noise: Noise | None = None

    @property
    def busy(self) -> float:
        """The fraction of the time that the server's processor worked."""
        return self.cpu / self.seconds


Round = tuple[Half, Half]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks neighbours", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=6.0, help="how long each half of a round lasts")
    parser.add_argument("--pace", type=float, default=100.0, help="requests a second of the quiet tenant")
    parser.add_argument("--limit", type=int, default=4, help="requests a second of the noisy tenant")
    options = parser.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with ground() as given, _noise_maker() as maker:
        # Its start is no noise.
        maker.submit(os.getpid).result()
        here = world(given, tenants=2)
        given.ask(_NOISY, limit=options.limit)
        rounds = asyncio.run(_rounds(here, maker, options))
    for fraction in (0.5, 0.99):
        low, ratio, high = _compared(rounds, fraction)
        print(f"p{fraction * 100:.0f} beside the noise against alone: {ratio:.2f} [{low:.2f}-{high:.2f}]")
    low, middle, high = quartiles([_cost(one) for one in rounds])
    print(f"server's processor for a request of the noise: {middle:.0f} µs [{low:.0f}-{high:.0f}]")


async def _rounds(here: World, maker: Executor, options: argparse.Namespace) -> list[Round]:
    rounds: list[Round] = []
    noisy, quiet = (here.calls_of(slug) for slug in ("tenant-1", "tenant-2"))
    with served(STATEMENT_DOOR, here.settings, next(quiet)) as (port, process):

        async def half(noise: tuple[int, Call, float, float] | None) -> Half:
            loop = asyncio.get_running_loop()
            began, before = loop.time(), sum(process.cpu_times()[:2])
            making = None if noise is None else loop.run_in_executor(maker, _make, *noise)
            measured = await pace(port, quiet, options.pace, options.seconds)
            made = None if making is None else await making
            return Half(measured, loop.time() - began, sum(process.cpu_times()[:2]) - before, made)

        noise = (port, next(noisy), float(options.limit * _TIMES_THE_LIMIT), options.seconds)
        for number in range(options.rounds):
            first = await half(noise if number % 2 else None)
            second = await half(None if number % 2 else noise)
            rounds.append((second, first) if number % 2 else (first, second))
            print(_line(rounds[-1]))
    return rounds


def _noise_maker() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def _make(port: int, call: Call, per_second: float, seconds: float) -> Noise:
    """Send the call at that rate over several connections (in the noise's own process)."""

    async def send() -> list[Measurement]:
        each = per_second / _CONNECTIONS
        return await asyncio.gather(*(pace(port, repeat(call), each, seconds) for _ in range(_CONNECTIONS)))

    made = asyncio.run(send())
    return Noise(sum(len(one.latencies) for one in made), sum(one.refused for one in made))


def _percentile(halves: Iterator[Half], fraction: float) -> float:
    ordered = sorted(chain.from_iterable(half.quiet.latencies for half in halves))
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


def _ratio(rounds: Sequence[Round], fraction: float) -> float:
    alone, beside = (_percentile((one[side] for one in rounds), fraction) for side in (0, 1))
    return beside / alone


def _compared(rounds: Sequence[Round], fraction: float) -> tuple[float, float, float]:
    """Return the ratio of a percentile beside the noise to that alone, between the ends of its interval."""
    draws = (random.choices(rounds, k=len(rounds)) for _ in range(_DRAWS))  # noqa: S311  # nothing is hidden
    drawn = sorted(_ratio(draw, fraction) for draw in draws)
    return drawn[_DRAWS // 20], _ratio(rounds, fraction), drawn[-_DRAWS // 20]


def _cost(one: Round) -> float:
    """Return what the server's processor did for a request of the noise, in microseconds."""
    alone, beside = one
    assert beside.noise is not None
    return (beside.busy - alone.busy) * beside.seconds / beside.noise.requests * 1e6


def _line(one: Round) -> str:
    alone, beside = one
    assert beside.noise is not None
    told = [f"{name} {_figures(half)}" for name, half in (("alone", alone), ("beside", beside))]
    share = beside.noise.refused / max(1, beside.noise.requests)
    sent = f"noise {beside.noise.requests / beside.seconds:.0f}/s, {share:.0%} refused"
    return "; ".join((*told, sent))


def _figures(half: Half) -> str:
    p50, p99 = (half.quiet.percentile(fraction) * 1e3 for fraction in (0.5, 0.99))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, {half.quiet.refused} refused, server {half.busy:.0%} busy"
