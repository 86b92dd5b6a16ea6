"""Run with `python -m benchmarks probes`: rounds of health probes over many tenants, as a worker makes them.

Each tenant is probed in its own context, by the application's role, on Redis and on a directory. The first
round meets tenants that were never probed; before each further one all probes are made older, so that every
tenant is due again. A round lasts from its planning until its last batch is done. CPU is this process's
alone; Postgres and Redis come on top.
"""

import argparse
import asyncio
import logging
import time
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from benchmarks.ground import Ground, ground
from mis_jobs.jobs import enqueue
from mis_jobs.runner import Runner
from mis_tenancy.database import Database
from mis_tenancy.redis import Redis
from mis_tenancy.storage import Storage
from tenant_service.health.jobs import BATCH, CONNECTIONS, PROBES, ProbeRounds
from tenant_service.health.metrics import ProbeMetrics
from tenant_service.health.probes import Probes
from tenant_service.health.service import Health

_FILL: Final = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
select gen_random_uuid(), 'Tenant ' || n, 'tenant-' || n, 'tenant-' || n, 'basic', 'active', now(), now(),
       now() from generate_series(1, {tenants}) n;
insert into tenant_counters (tenant_id, users) select id, 50 from tenants;
vacuum analyze;
"""
_AGE: Final = (
    "update tenant_probes set at = at - interval '1 minute', samples = 1;\nvacuum analyze tenant_probes;\n"
)
_LEFT: Final = text("select count(*) from jobs where state in ('queued', 'running')")
_LOOK_SECONDS: Final = 0.1


def main() -> None:
    """Fill, go round, and print a line for each round."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks probes", description=__doc__)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with ground() as given:
        given.ask(_FILL, tenants=options.tenants)
        asyncio.run(_measured(given, options.rounds))


async def _measured(given: Ground, rounds: int) -> None:
    platform = Database(given.urls.platform)
    application = Database(given.urls.app, pool_size=CONNECTIONS)
    redis = Redis(given.redis_url, 1.0)
    for part in (platform, application, redis):
        await part.start()
    health = Health(application, Probes(application, redis, Storage(given.store.as_uri())))
    going = ProbeRounds(platform, health, ProbeMetrics(CollectorRegistry()))
    runner = Runner(platform, redis, {PROBES: going.plan, BATCH: going.probe}, [])
    working = asyncio.create_task(runner.run())
    print(f"{'':<12}{'probes':>10}{'seconds':>10}{'CPU s':>10}{'CPU ms each':>14}")
    for number in range(rounds):
        before, began, used = _count(given), time.perf_counter(), time.process_time()
        await _go_round(platform)
        took, used = time.perf_counter() - began, time.process_time() - used
        made = _count(given) - before
        print(f"round {number + 1:<6}{made:>10,}{took:>10.1f}{used:>10.1f}{used / made * 1e3:>14.2f}")
        given.ask(_AGE)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await redis.stop()
    await application.stop()
    await platform.stop()


async def _go_round(platform: Database) -> None:
    async with platform.platform_transaction() as session:
        await enqueue(session, PROBES, {}, tenant_id=None)
    left = 1
    while left:
        await asyncio.sleep(_LOOK_SECONDS)
        async with platform.platform_transaction() as session:
            left = (await session.scalars(_LEFT)).one()


def _count(given: Ground) -> int:
    return int(given.lines("select count(*) from tenant_probes")[0])
