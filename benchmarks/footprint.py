"""Run with `python -m benchmarks footprint`: what one more tenant takes, in rows, bytes and memory.

Tenants are made by the suite's own rules, each with an owner and nothing else, and requests are written down
by the drain's own statement. What is told are differences, so that what an empty database holds is left out.
"""

import argparse
import asyncio
import sys
import tracemalloc
from typing import Final
from uuid import UUID

from benchmarks.ground import Ground, ground
from mis_cli.deployment import Deployment
from mis_cli.desk import Desk, act
from mis_tenancy.database import Database
from mis_tenancy.directory import TenantDirectory
from mis_tenancy.encryption import Wrapping
from mis_tenancy.identifiers import new_id
from mis_tenancy.origins.actor_keys import ActorKeys
from mis_tenancy.origins.sealing import Origin
from mis_tenancy.records.record import AuditRecord
from mis_tenancy.records.store import insert_records
from mis_tenancy.settings import MasterKeys
from tenant_service.lifecycle.schemas import TenantCreate

_TABLES: Final = "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
# As many requests of a tenant as a drain brings in together.
_AT_ONCE: Final = 100
_PASSWORD: Final = "Correct-Horse-7-Battery"  # noqa: S105  # of owners who live for minutes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks footprint", description=__doc__)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    with ground() as given:
        before = _sizes(given)
        tenants = act(_deployment(given), lambda desk: _made(desk, options.tenants))
        _tell("a tenant with an owner", before, _sizes(given), options.tenants)
        print(f"in a process's directory: {asyncio.run(_remembered(given, tenants)):,.0f} bytes a tenant")
        before = _sizes(given)
        asyncio.run(_recorded(given, tenants[:10], options.requests))
        _tell("a request of a busy tenant", before, _sizes(given), options.requests)


def _sizes(given: Ground) -> dict[str, tuple[int, int]]:
    """Return bytes, with indexes, and rows by table; vacuumed, so that no dead row is counted."""
    given.ask("vacuum analyze;\n")
    each = "select '{0} ' || pg_total_relation_size('{0}') || ' ' || count(*) from {0}"
    lines = given.lines(" union all ".join(each.format(table) for table in given.lines(_TABLES)))
    return {table: (int(size), int(rows)) for table, size, rows in map(str.split, lines)}


def _tell(
    what: str, before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], number: int
) -> None:
    gained = {t: (after[t][0] - before[t][0], after[t][1] - before[t][1]) for t in after}
    size, rows = (sum(one[place] for one in gained.values()) / number for place in (0, 1))
    print(f"{what}: {rows:.1f} rows, {size:,.0f} bytes with their indexes")
    for table in sorted(gained, key=lambda one: -gained[one][0])[:5]:
        print(f"  {table:<28} {gained[table][1] / number:6.2f} rows {gained[table][0] / number:9,.0f} bytes")


def _deployment(given: Ground) -> Deployment:
    return Deployment(
        database_url=given.urls.app,
        auth_database_url=given.urls.auth,
        platform_database_url=given.urls.platform,
        redis_url=given.redis_url,
        public_url="http://127.0.0.1:8000",
        base_domains=("mis.local",),
        master_keys=MasterKeys.parse(given.master_keys),
    )


async def _made(desk: Desk, number: int) -> list[UUID]:
    made = []
    for place in range(number):
        slug = f"tenant-{place:07}"
        owner = {"email": f"owner@{slug}.example", "name": "Olivia Owner", "password": _PASSWORD}
        body = {"name": f"Tenant {place}", "slug": slug, "plan": "basic", "owner": owner}
        made.append((await desk.operations.create(TenantCreate.model_validate(body).value())).tenant_id)
        if place % 100 == 0:
            print(f"{place} tenants …", file=sys.stderr)
    return made


async def _remembered(given: Ground, tenants: list[UUID]) -> float:
    """Return how many bytes the directory's cache takes for each tenant."""
    database = Database(given.urls.app, pool_size=1)
    await database.start()
    directory = TenantDirectory(database)
    # The first one brings what all share.
    await directory.by_id(tenants[0])
    tracemalloc.start()
    for tenant_id in tenants[1:]:
        await directory.by_id(tenant_id)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await database.stop()
    return held / (len(tenants) - 1)


async def _recorded(given: Ground, tenants: list[UUID], number: int) -> None:
    """Write down requests as processes do, each tenant's by one user."""
    keys = ActorKeys(Wrapping(MasterKeys.parse(given.master_keys)))
    database = Database(given.urls.app, pool_size=1, actor_keys=keys)
    await database.start()
    actors = {tenant_id: new_id() for tenant_id in tenants}
    for _ in range(0, number, _AT_ONCE * len(tenants)):
        records = [_record(*pair) for pair in actors.items() for _ in range(_AT_ONCE)]
        await insert_records(database, records)
    await database.stop()


def _record(tenant_id: UUID, actor: UUID) -> AuditRecord:
    return AuditRecord(
        tenant_id=tenant_id,
        kind="request",
        action="GET /api/v1/users",
        actor=actor,
        actor_kind="member",
        outcome="success",
        status=200,
        duration_us=4_000,
        origin=Origin("192.0.2.1", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        request_id=str(new_id()),
        sources=("jwt", "header"),
        counted=True,
    )


if __name__ == "__main__":
    main()
