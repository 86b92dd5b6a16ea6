"""Run with `make bench`: every candidate once a round, in shuffled order, and a table of medians.

`ARGS=creating` measures the creation of tenants instead of the hottest list. Other subjects have no peers:
`ARGS=readings` (lists, usage, a creation), `ARGS=signing_in` (tokens, refreshes, a flood of sign-ins),
`ARGS=exports`, `ARGS=media`, `ARGS=alerts`, `ARGS=neighbours`, `ARGS=people` (search, import), `ARGS=crowd`
(what both read among millions), `ARGS=limits` (one Redis, a cluster) and `ARGS=footprint` (what one more
tenant takes); each takes `--help`.
"""

import argparse
import asyncio
import os
import random
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from benchmarks import (
    alerts,
    crowd,
    exports,
    footprint,
    limits,
    media,
    neighbours,
    people,
    probes,
    readings,
    signing_in,
)
from benchmarks.candidates import CANDIDATES, PLAIN_ORM
from benchmarks.creation import CREATING, ONE_BY_ONE, creations
from benchmarks.ground import ground
from benchmarks.load import Call, measure
from benchmarks.report import Run, table
from benchmarks.serving import served
from benchmarks.world import World, world

WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a route, who serves it, whom they are compared to, and the calls."""

    title: str
    candidates: Collection[str]
    peer: str
    calls: Callable[[World], Iterator[Call]]


SUBJECTS = {
    "listing": Subject("GET /api/v1/users?limit=20", CANDIDATES, PLAIN_ORM, World.calls),
    "creating": Subject("POST /api/v1/tenants", CREATING, ONE_BY_ONE, creations),
}

OTHERS = {
    "alerts": alerts.main,
    "crowd": crowd.main,
    "exports": exports.main,
    "footprint": footprint.main,
    "limits": limits.main,
    "media": media.main,
    "neighbours": neighbours.main,
    "people": people.main,
    "probes": probes.main,
    "readings": readings.main,
    "signing_in": signing_in.main,
}


def main() -> None:
    """Measure and print; the load and the servers share one processor, the candidate has the other."""
    if len(sys.argv) > 1 and sys.argv[1] in OTHERS:
        OTHERS[sys.argv.pop(1)]()
        return
    options = _options()
    subject = SUBJECTS[options.subject]
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with ground() as given:
        here = world(given, options.tenants)
        rounds: dict[str, list[Run]] = {candidate: [] for candidate in subject.candidates}
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds} …", file=sys.stderr)
            for candidate in random.sample(list(subject.candidates), len(subject.candidates)):
                rounds[candidate].append(_run(candidate, here, subject, options))
    print(f"{subject.title}, {options.tenants} tenants, {options.connections} connections")
    print("\n".join(table(rounds, subject.peer)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subject", nargs="?", choices=[*SUBJECTS, *OTHERS], default="listing")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each candidate runs a round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--tenants", type=int, default=200)
    return parser.parse_args()


def _run(candidate: str, given: World, subject: Subject, options: argparse.Namespace) -> Run:
    calls = subject.calls(given)
    with served(candidate, given.settings, next(calls)) as (port, process):
        asyncio.run(measure(port, calls, options.connections, WARM_UP_SECONDS))
        before = sum(process.cpu_times()[:2])
        measured = asyncio.run(measure(port, calls, options.connections, options.seconds))
        return Run(measured, sum(process.cpu_times()[:2]) - before)


main()
