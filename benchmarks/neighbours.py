"""Run with `python -m benchmarks neighbours`: what a quiet tenant notices of one at fifty times its limit.

Both ask one server for their users: the quiet one fifty times a second, the noisy one fifty times as often
as its limit allows, so that nearly all it sends is refused. Halves with and without the noise take turns, and
their order too. A refusal costs the server's processor something as well: a noise of more than it can refuse
in a second makes everybody wait, so the line of a round tells how busy it was and how much of the noise came.
"""

import argparse
import asyncio
import os
from collections.abc import Iterator
from typing import Final

import psutil

from benchmarks.candidates import STATEMENT_DOOR
from benchmarks.ground import ground
from benchmarks.load import Call, Measurement, pace
from benchmarks.report import quartiles
from benchmarks.serving import served
from benchmarks.world import World, world

_QUIET_PER_SECOND: Final = 50
_TIMES_THE_LIMIT: Final = 50
_CONNECTIONS: Final = 16
_NOISY: Final = """
insert into tenant_configurations
       (tenant_id, id, config_key, config_value, is_encrypted, version, created_at, updated_at)
select id, gen_random_uuid(), 'api.burst_limit', '{limit}', false, 1, now(), now()
  from tenants where slug = 'tenant-1';
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks neighbours", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each half of a round lasts")
    parser.add_argument("--limit", type=int, default=4, help="requests a second of the noisy tenant")
    options = parser.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with ground() as given:
        here = world(given, tenants=2)
        given.ask(_NOISY, limit=options.limit)
        asyncio.run(_rounds(here, options))


async def _rounds(here: World, options: argparse.Namespace) -> None:
    noisy, quiet = (here.calls_of(slug) for slug in ("tenant-1", "tenant-2"))
    offered, seconds = options.limit * _TIMES_THE_LIMIT, options.seconds
    ratios: dict[float, list[float]] = {0.5: [], 0.99: []}

    async def beside(process: psutil.Process) -> tuple[Measurement, str]:
        before = sum(process.cpu_times()[:2])
        measured, noise = await asyncio.gather(
            pace(port, quiet, _QUIET_PER_SECOND, seconds), _flood(port, noisy, offered, seconds)
        )
        return measured, _noise(noise, offered, (sum(process.cpu_times()[:2]) - before) / seconds)

    with served(STATEMENT_DOOR, here.settings, next(quiet)) as (port, process):
        for number in range(options.rounds):
            if number % 2:
                disturbed, noise = await beside(process)
            alone = await pace(port, quiet, _QUIET_PER_SECOND, seconds)
            if not number % 2:
                disturbed, noise = await beside(process)
            for fraction, found in ratios.items():
                found.append(disturbed.percentile(fraction) / alone.percentile(fraction))
            print(f"{_figures('alone', alone)}; {_figures('beside', disturbed)}; {noise}")
    for fraction, found in ratios.items():
        low, middle, high = quartiles(found)
        print(f"p{fraction * 100:.0f} beside the noise against alone: {middle:.2f} [{low:.2f}-{high:.2f}]")


async def _flood(port: int, calls: Iterator[Call], per_second: float, seconds: float) -> list[Measurement]:
    each = per_second / _CONNECTIONS
    return await asyncio.gather(*(pace(port, calls, each, seconds) for _ in range(_CONNECTIONS)))


def _figures(name: str, one: Measurement) -> str:
    p50, p99 = (one.percentile(fraction) * 1e3 for fraction in (0.5, 0.99))
    return f"{name} p50 {p50:.2f} ms, p99 {p99:.2f} ms, {one.refused} refused"


def _noise(noise: list[Measurement], offered: int, busy: float) -> str:
    sent = sum(one.per_second for one in noise)
    refused = sum(one.refused for one in noise) / max(1, sum(len(one.latencies) for one in noise))
    return f"noise {sent:.0f} of {offered}/s, {refused:.0%} refused, server {busy:.0%} busy"
