"""Run with `python -m benchmarks readings`: what operators' and tenants' own reads cost, and a creation.

Each is asked of the tenant service in this process, without a network: milliseconds as the caller sees them,
round trips to Postgres as a proxy between the two counts them, and how many rows of the usage ledger a read
takes, as Postgres counts those. The list is one of many tenants, of which the newer half is purged.
"""

import argparse
import asyncio
import base64
import json
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import httpx

from benchmarks.ground import Ground, ground
from benchmarks.world import signed_token
from mis_http.service.settings import ServiceSettings
from mis_jobs.jobs import Job
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.tokens.signing import SigningKey, load_signing_key, new_signing_key
from tenant_service.app import create_app
from tenant_service.usage.jobs import DayCopies, UsageUpkeep
from tenant_service.usage.ranges import DAY, day_of
from tests.database import CountingProxy

_TENANTS: Final = "/api/v1/tenants"
# Counts of rows reach Postgres' views when a connection has been idle for ten seconds.
_COUNTED_SECONDS: Final = 11
_PURGED_FROM: Final = 0.5
_USERS: Final = 1_000

_KEY: Final = """
insert into public_signing_keys (kid, jwk, state, created_at) values ('{kid}', '{jwk}', 'current', now());
"""
_FILL: Final = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
select uuidv7(make_interval(secs => n - {tenants})), 'Tenant ' || n, 'tenant-' || n, 'tenant-' || n, 'basic',
       case when n > {tenants} * {alive} then 'purged' else 'active' end, now(),
       now() - interval '3 years', now() from generate_series(1, {tenants}) n;
insert into tenant_counters (tenant_id, users)
select id, case slug when 'tenant-1' then {users} else 50 end from tenants
 where slug in ('tenant-1', 'tenant-2');
insert into usage_user_days (tenant_id, day, actor, actor_kind, requests, hours)
select t.id, date_trunc('day', now(), 'UTC') - make_interval(days => n), md5('user ' || u)::uuid, 'member',
       9, 511
  from tenants t, generate_series(0, 400) n, generate_series(1, {users}) u where t.slug = 'tenant-1';
insert into usage_days (tenant_id, day, requests, errors, latency, features)
select t.id, date_trunc('day', now(), 'UTC') - make_interval(days => n), 900000, 1,
       (select jsonb_object_agg(b::text, 1000 + b) from generate_series(30, 90) b),
       '{{"advanced_analytics": 7, "custom_branding": 3}}'
  from tenants t, generate_series(0, 400) n where t.slug = 'tenant-1';
insert into usage_levels (tenant_id, day, users, storage_bytes, hours)
select t.id, date_trunc('day', now(), 'UTC') - make_interval(days => n), {users}, 1000,
       '{{"5": [{users}, 1000]}}'
  from tenants t, generate_series(0, 400) n where t.slug = 'tenant-1';
vacuum analyze;
"""
_READ: Final = """
select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) from pg_stat_user_tables
 where relname in ('usage_days', 'usage_months', 'usage_levels', 'usage_user_days', 'usage_member_days')
"""

Ask = Callable[[], Awaitable[httpx.Response]]


@dataclass(frozen=True, slots=True)
class Bench:
    """The running service, who counts its round trips, and how often each thing is asked."""

    client: httpx.AsyncClient
    proxies: tuple[CountingProxy, CountingProxy]
    given: Ground
    times: int

    async def line(self, name: str, ask: Ask, status: int, *, counts_rows: bool = False) -> None:
        """Ask again and again, and print what that came to."""
        assert (await ask()).status_code == status
        before = await self._rows() if counts_rows else 0
        for proxy in self.proxies:
            proxy.reset()
        taken = []
        for _ in range(self.times):
            started = time.perf_counter()
            assert (await ask()).status_code == status
            taken.append((time.perf_counter() - started) * 1e3)
        turns = sum(proxy.turns for proxy in self.proxies) / self.times
        rows = f"{(await self._rows() - before) / self.times:>8.0f}" if counts_rows else ""
        middle, high = statistics.median(taken), sorted(taken)[int(len(taken) * 0.95)]
        print(f"{name:<44}{turns:>12.1f}{middle:>9.2f}{high:>9.2f}{rows}")

    async def _rows(self) -> int:
        await asyncio.sleep(_COUNTED_SECONDS)
        return int(self.given.lines(_READ)[0])


def main() -> None:
    """Fill, ask, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks readings", description=__doc__)
    parser.add_argument("--tenants", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=200)
    options = parser.parse_args()
    with ground() as given:
        key = new_signing_key()
        given.ask(_KEY, kid=key.kid, jwk=json.dumps(key.public_jwk))
        given.ask(_FILL, tenants=options.tenants, alive=_PURGED_FROM, users=_USERS)
        asyncio.run(_measured(given, key, options))


async def _measured(given: Ground, key: SigningKey, options: argparse.Namespace) -> None:
    await _keep_up(given)
    token = signed_token(key.kid, load_signing_key(key.private_pem), role="operator", scope="")
    (tenant,) = given.lines("select id from tenants where slug = 'tenant-1'")
    async with AsyncExitStack() as stack:
        application = await stack.enter_async_context(CountingProxy(given.urls.app))
        platform = await stack.enter_async_context(CountingProxy(given.urls.platform))
        urls = {"database_url": application.url, "platform_database_url": platform.url}
        app = create_app(ServiceSettings(**given.settings | urls))
        await stack.enter_async_context(app.router.lifespan_context(app))
        # The feed polls by the clock, which is no part of a request.
        await app.state.tenancy.feed.stop()
        app.state.tenancy.feed._stale_after = 3_600.0
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, client=("127.0.0.1", 50_000)),
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {token}"},
        )
        bench = Bench(await stack.enter_async_context(client), (application, platform), given, options.times)
        print(f"{'':<44}{'round trips':>12}{'p50 ms':>9}{'p95 ms':>9}{'rows':>8}")
        await _ask_all(bench, UUID(tenant), options.tenants)


async def _ask_all(bench: Bench, tenant: UUID, tenants: int) -> None:
    def get(path: str, **query: Any) -> Ask:
        return lambda: bench.client.get(path, params=query)

    def create() -> Awaitable[httpx.Response]:
        slug = f"b-{secrets.token_hex(8)}"
        owner = {"email": f"owner@{slug}.example", "name": "Olivia Owner"}
        return bench.client.post(_TENANTS, json={"name": "Benchmark", "slug": slug, "owner": owner})

    await bench.line("create a tenant", create, 201)
    deep = bench.given.lines(f"select id from tenants where slug = 'tenant-{tenants // 100}'")  # noqa: S608
    # As the `next` link of the page before would have it.
    cursor = base64.urlsafe_b64encode(UUID(deep[0]).bytes).rstrip(b"=").decode()
    of = f"list of {tenants:,} tenants"
    await bench.line(f"{of}, first page", get(_TENANTS), 200)
    await bench.line(f"{of}, 99 % down", get(_TENANTS, cursor=cursor), 200)
    await bench.line(f"{of}, status and plan", get(_TENANTS, status="active", plan="basic"), 200)
    usage = f"{_TENANTS}/{tenant}/usage"
    for asked in ("24h", "30d", "12m"):
        await bench.line(f"usage {asked}", get(usage, timeRange=asked), 200, counts_rows=True)
    today = day_of(datetime.now(UTC))
    year = {"from": (today - 365 * DAY).isoformat(), "to": today.isoformat()}
    await bench.line(f"usage of a past year, {_USERS:,} users", get(usage, **year), 200, counts_rows=True)
    (idle,) = bench.given.lines("select id from tenants where slug = 'tenant-2'")
    # What any answer costs here: the client, the middleware and the round trips, with nothing to show.
    of_idle = get(f"{_TENANTS}/{idle}/usage", timeRange="24h")
    await bench.line("usage 24h of an idle tenant", of_idle, 200, counts_rows=True)


async def _keep_up(given: Ground) -> None:
    """Do what the worker has done by then."""
    platform, application = Database(given.urls.platform), Database(given.urls.app)
    await platform.start()
    await application.start()
    await UsageUpkeep(platform).add_up(Job(new_id(), None, "usage_months", {}, 1))
    await DayCopies(platform, application).copy(Job(new_id(), None, "usage_copies", {}, 1))
    await application.stop()
    await platform.stop()
