"""Run with `python -m benchmarks alerts`: how long many tenants wait for an alert of the same instant.

A worker runs as it does in production, mails to their owners included. At one moment every tenant reaches
80 % of its users, and everything that is known of its plan is out of date; what is measured ends when the
last alert can be read.
"""

import argparse
import asyncio
import time
from typing import Final

from sqlalchemy import func, select

from benchmarks.ground import Ground, ground
from mis_http.service.settings import ServiceSettings
from mis_models.alerts import AlertRow
from mis_tenancy.database import Database
from mis_worker.app import working

PROMISED_SECONDS: Final = 10

_FILL: Final = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, max_users, max_storage,
       created_at, updated_at)
select gen_random_uuid(), 'Tenant ' || n, 'tenant-' || n, 'tenant-' || n, 'basic', 'active', now(), 100, 10,
       now(), now() from generate_series(1, {tenants}) n;
insert into tenant_counters (tenant_id, users) select id, 1 from tenants;
insert into users (tenant_id, id, email, email_norm, name, role, status, attributes, created_at, updated_at)
select id, gen_random_uuid(), 'owner@' || slug || '.example', 'owner@' || slug || '.example', 'Olivia Owner',
       'owner', 'active', '{{}}', now(), now() from tenants;
insert into usage_days (tenant_id, day, requests, counted)
select id, date_trunc('day', now(), 'UTC'), 5, 5 from tenants;
vacuum analyze;
"""
_AT_ONCE: Final = """
with fuller as (update tenant_counters set users = 80 returning tenant_id), renewed as (
    insert into revocations (id, kind, tenant_id, subject) select uuidv7(), 'tenant', id, id from tenants
)
insert into audit_logs (tenant_id, id, kind, action, outcome, changes)
select tenant_id, uuidv7(), 'change', 'users.imported', 'success', '{{}}' from fuller;
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks alerts", description=__doc__)
    parser.add_argument("--tenants", type=int, default=1_000)
    options = parser.parse_args()
    with ground() as given:
        given.ask(_FILL, tenants=options.tenants)
        seconds = asyncio.run(_measured(given, options.tenants))
    promise = f"(promised: {PROMISED_SECONDS} s)"
    print(f"{options.tenants:,} alerts of one instant: all there after {seconds:.1f} s {promise}")


async def _measured(given: Ground, tenants: int) -> float:
    mails = given.directory / "mails"
    settings = ServiceSettings(**given.settings | {"mail_dir": mails, "dns_servers": ("127.0.0.1",)})
    platform = Database(given.urls.platform)
    await platform.start()
    async with working(settings):
        # The first pass looks at every tenant; what is measured is a pass like any other.
        await asyncio.sleep(5)
        given.ask(_AT_ONCE)
        started = time.perf_counter()
        while await _opened(platform) < tenants:  # noqa: ASYNC110  # another process may be who opens them
            await asyncio.sleep(0.1)
        seconds = time.perf_counter() - started
    await platform.stop()
    return seconds


async def _opened(platform: Database) -> int:
    async with platform.platform_transaction() as session:
        return await session.scalar(select(func.count(AlertRow.id))) or 0


if __name__ == "__main__":
    main()
