"""Run with `python -m benchmarks limits`: what a decision of the limiter costs its process.

A decision is one call of the script, on one Redis or on a cluster of three. Each round measures both in
shuffled order, 16 decisions in flight, and the ratio is taken within the round. CPU is this process's alone;
the servers' comes on top.
"""

import argparse
import asyncio
import logging
import random
import statistics
import time
from collections.abc import Mapping
from datetime import date
from typing import Final
from uuid import UUID

from benchmarks.report import quartiles
from mis_tenancy.quotas import Limiter
from mis_tenancy.redis import Redis
from mis_tenancy.tenant import Tenant
from tests.mis_tenancy.redis_fixtures import a_tenant, redis_server
from tests.redis_cluster import redis_cluster

_IN_FLIGHT: Final = 16
_ONE, _THREE = "one Redis", "a cluster of three"


def main() -> None:
    """Start the servers, measure, and print a line for each and the ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks limits", description=__doc__)
    parser.add_argument("--decisions", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    with redis_server() as server, redis_cluster() as cluster:
        urls = {_ONE: server.url, _THREE: cluster.url}
        costs = asyncio.run(_measured(urls, options.rounds, options.decisions))
    for name, found in costs.items():
        print(f"{name:<20}{statistics.median(found):>8.1f} µs of CPU a decision")
    low, ratio, high = quartiles([three / one for one, three in zip(costs[_ONE], costs[_THREE], strict=True)])
    print(f"{'ratio':<20}{ratio:>8.2f} [{low:.2f}-{high:.2f}]")


async def _measured(urls: Mapping[str, str], rounds: int, decisions: int) -> Mapping[str, list[float]]:
    clients = {name: Redis(url, 5.0) for name, url in urls.items()}
    for client in clients.values():
        await client.start()
    limiters = {name: Limiter(client, _nothing, 1) for name, client in clients.items()}
    tenants = [a_tenant(burst=1_000_000, daily=1_000_000_000) for _ in range(64)]
    costs: dict[str, list[float]] = {name: [] for name in urls}
    for limiter in limiters.values():
        await _decide(limiter, tenants, len(tenants))
    for _ in range(rounds):
        for name in random.sample([*limiters], len(limiters)):
            costs[name].append(await _decide(limiters[name], tenants, decisions))
    for client in clients.values():
        await client.stop()
    return costs


async def _decide(limiter: Limiter, tenants: list[Tenant], decisions: int) -> float:
    """Return the microseconds of CPU that each decision took; every one must be Redis' and let pass."""
    began = time.process_time()
    for first in range(0, decisions, _IN_FLIGHT):
        numbers = range(first, first + _IN_FLIGHT)
        asked = (limiter.admit(tenants[number % len(tenants)], daily_exempt=False) for number in numbers)
        answers = await asyncio.gather(*asked)
        if not all(answer.admitted and answer.mode == "shared" for answer in answers):
            raise SystemExit("A decision was not Redis', or refused: nothing was measured.")
    return (time.process_time() - began) / decisions * 1e6


async def _nothing(tenant_id: UUID, day: date) -> int:
    return 0
