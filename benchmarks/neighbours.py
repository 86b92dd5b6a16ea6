"""Run with `python -m benchmarks neighbours`: what a quiet tenant notices of one at fifty times its limit.

Both ask one server for their users: the quiet one twenty times a second, the noisy one fifty times as often
as its plan allows, so that nearly all it sends is refused. Rounds with and without the noise take turns.
"""

import argparse
import asyncio
import os
import statistics
from collections.abc import Iterator
from typing import Final

from benchmarks.candidates import STATEMENT_DOOR
from benchmarks.ground import ground
from benchmarks.load import Call, Measurement, pace
from benchmarks.serving import served
from benchmarks.world import World, world
from mis_tenancy.plans import PLANS, PlanName

_QUIET_PER_SECOND: Final = 20
_TIMES_THE_LIMIT: Final = 50
_CONNECTIONS: Final = 16
_NOISY: Final = "update tenants set plan = 'basic' where slug = 'tenant-1';\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks neighbours", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each half of a round lasts")
    options = parser.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with ground() as given:
        here = world(given, tenants=2)
        given.ask(_NOISY)
        asyncio.run(_rounds(here, options.rounds, options.seconds))


async def _rounds(here: World, rounds: int, seconds: float) -> None:
    noisy, quiet = (here.calls_of(slug) for slug in ("tenant-1", "tenant-2"))
    limit = PLANS[PlanName.BASIC].configuration["api.burst_limit"] * _TIMES_THE_LIMIT
    ratios = []
    with served(STATEMENT_DOOR, here.settings, next(quiet)) as (port, _):
        for _ in range(rounds):
            alone = await pace(port, quiet, _QUIET_PER_SECOND, seconds)
            beside, noise = await asyncio.gather(
                pace(port, quiet, _QUIET_PER_SECOND, seconds), _flood(port, noisy, limit, seconds)
            )
            ratios.append(beside.percentile(0.99) / alone.percentile(0.99))
            print(_line(alone, beside, noise))
    print(f"p99 beside the noise against p99 alone: median {statistics.median(ratios):.2f} (asked: 1.5)")


async def _flood(port: int, calls: Iterator[Call], per_second: float, seconds: float) -> list[Measurement]:
    each = per_second / _CONNECTIONS
    return await asyncio.gather(*(pace(port, calls, each, seconds) for _ in range(_CONNECTIONS)))


def _line(alone: Measurement, beside: Measurement, noise: list[Measurement]) -> str:
    def figures(name: str, one: Measurement) -> str:
        return f"{name} p50 {one.percentile(0.5) * 1e3:.2f} ms, p99 {one.percentile(0.99) * 1e3:.2f} ms"

    sent = sum(one.per_second for one in noise)
    refused = sum(one.refused for one in noise) / max(1, sum(len(one.latencies) for one in noise))
    return (
        f"{figures('alone', alone)}; {figures('beside', beside)}; quiet refused {beside.refused}; "
        f"noise {sent:.0f}/s, {refused:.0%} refused"
    )
